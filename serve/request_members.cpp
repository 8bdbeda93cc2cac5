#include "serve/request_members.h"

#include <algorithm>
#include <limits>

#include "base/json.h"
#include "serve/api_error.h"
#include "text/utf8.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

}  // namespace

Json parse_body(std::string_view body) {
  if (const std::size_t end = valid_utf8(body); end != body.size()) {
    throw ApiError(400, "", "", fmt::format("the body is no JSON: byte {} is not UTF-8", end));
  }
  Json json;
  try {
    json = parse_json(body, "the body");
  } catch (const Error& error) {
    throw ApiError(400, "", "", error.what());
  }
  if (!json.is_object()) throw ApiError(400, "", "", "the body must be a JSON object");
  return json;
}

std::optional<std::int64_t> token_id(const Json& json) {
  // In this library a number from 0 up is unsigned.
  if (!json.is_number_unsigned()) return std::nullopt;
  const auto id = json.get<std::uint64_t>();
  return id <= static_cast<std::uint64_t>(kMost) ? std::optional(static_cast<std::int64_t>(id))
                                                 : std::nullopt;
}

std::vector<std::int64_t> token_ids(const Json& list, const std::string& param) {
  if (!list.is_array()) refuse(param, "'{}' must be a list of token ids", param);
  std::vector<std::int64_t> ids;
  for (const Json& one : list) {
    const std::optional<std::int64_t> id = token_id(one);
    if (!id) refuse(param, "a list of token ids must hold whole numbers from 0 up");
    ids.push_back(*id);
  }
  return ids;
}

Json Members::take(const std::string& name) {
  const auto found = body_.find(name);
  if (found == body_.end()) return {};
  Json value = std::move(*found);
  body_.erase(found);
  return value;
}

bool Members::flag(const std::string& name) {
  const Json value = take(name);
  if (value.is_null()) return false;
  if (!value.is_boolean()) refuse(name, "'{}' must be true or false", name);
  return value.get<bool>();
}

std::optional<std::int64_t> Members::whole(const std::string& name, std::int64_t low,
                                           std::int64_t high) {
  const Json value = take(name);
  if (value.is_null()) return std::nullopt;
  // A negative number is signed in this library, and one above int64 unsigned.
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMost)
                        : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
    if (high == kMost) refuse(name, "'{}' must be a whole number of at least {}", name, low);
    refuse(name, "'{}' must be a whole number from {} to {}", name, low, high);
  }
  return value.get<std::int64_t>();
}

double Members::real(const std::string& name, double fallback, double low, double high) {
  const Json value = take(name);
  if (value.is_null()) return fallback;
  if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high)) {
    refuse(name, "'{}' must be a number from {} to {}", name, low, high);
  }
  return value.get<double>();
}

std::string Members::text(const std::string& name) {
  const Json value = take(name);
  if (!value.is_string()) refuse(name, "'{}' must be given as a string", name);
  return value.get<std::string>();
}

std::optional<std::string> Members::optional_text(const std::string& name) {
  const Json value = take(name);
  if (value.is_null()) return std::nullopt;
  if (!value.is_string()) refuse(name, "'{}' must be a string", name);
  return value.get<std::string>();
}

Sampling Members::sampling(double temperature) {
  Sampling sampling;
  sampling.temperature = real("temperature", temperature, 0, 1e6);
  sampling.top_p = real("top_p", 1, 0, 1);
  if (sampling.top_p == 0) refuse("top_p", "'top_p' must be above 0");
  sampling.top_k = whole("top_k", 0, kMost).value_or(0);
  return sampling;
}

void Members::require_idle(const std::string& name, std::initializer_list<Json> idle,
                           const char* why) {
  const Json value = take(name);
  if (value.is_null() || std::ranges::find(idle, value) != idle.end()) return;
  throw ApiError(400, name, "unsupported", fmt::format("'{}' is not supported: {}", name, why));
}

void Members::require_empty() const {
  if (body_.empty()) return;
  const std::string name = body_.begin().key();
  refuse(name, "the request has the member '{}', which is not of this protocol", name);
}

}  // namespace mnm
