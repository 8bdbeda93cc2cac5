#include "serve/allowed_hosts.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <optional>

#include "base/error.h"

namespace mnm {
namespace {

using boost::asio::ip::address;
using boost::asio::ip::make_address_v4;

bool is_address(const std::string& text) {
  boost::system::error_code error;
  boost::asio::ip::make_address(text, error);
  return !error;
}

bool is_loopback(const std::string& text) {
  boost::system::error_code error;
  const address parsed = boost::asio::ip::make_address(text, error);
  if (error) return false;
  const bool mapped = parsed.is_v6() && parsed.to_v6().is_v4_mapped();  // ::ffff:127.0.0.1
  return mapped ? make_address_v4(boost::asio::ip::v4_mapped, parsed.to_v6()).is_loopback()
                : parsed.is_loopback();
}

// Of two texts of one name the same: "Example.com." and "example.com".
std::string one_text(std::string_view host) {
  std::string text(host);
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (text.ends_with('.')) text.pop_back();
  return text;
}

// The host of "host", "host:80", "[::1]" or "[::1]:80". Nothing: it is none of these.
std::optional<std::string_view> without_port(std::string_view value) {
  const bool bracket = value.starts_with('[');
  const std::size_t end = value.find(bracket ? ']' : ':');
  if (bracket && end == std::string_view::npos) return std::nullopt;
  const std::string_view host = bracket ? value.substr(1, end - 1) : value.substr(0, end);
  std::string_view port = value.substr(std::min(value.size(), bracket ? end + 1 : end));
  if (port.starts_with(':')) {
    port.remove_prefix(1);
    if (port.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  } else if (!port.empty()) {
    return std::nullopt;
  }
  return host;
}

bool is_name(const std::string& text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  };
  return !text.empty() && std::ranges::all_of(text, fits);
}

}  // namespace

AllowedHosts::AllowedHosts(const std::string& address, const std::vector<std::string>& names)
    : all_(names.empty() && !is_loopback(address)) {
  for (const std::string& name : names) {
    const bool bracket = name.starts_with('[') && name.ends_with(']');
    names_.push_back(one_text(bracket ? name.substr(1, name.size() - 2) : name));
    if (is_name(names_.back()) || is_address(names_.back())) continue;
    fail_usage(
        "cannot allow the host '{}': expected a name or an IP address without a port, such "
        "as models.example.com",
        name);
  }
}

bool AllowedHosts::allow(std::string_view host) const {
  if (all_ || host.empty()) return true;
  const std::optional<std::string_view> named = without_port(host);
  if (!named) return false;
  const std::string text = one_text(*named);
  return text == "localhost" || is_address(text) || std::ranges::count(names_, text) > 0;
}

}  // namespace mnm
