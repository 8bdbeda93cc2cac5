#include "serve/bearer_token.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace mnm {
namespace {

constexpr std::string_view kScheme = "bearer ";

bool has_scheme(std::string_view authorization) {
  if (authorization.size() < kScheme.size()) return false;
  return std::ranges::equal(authorization.substr(0, kScheme.size()), kScheme, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

}  // namespace

std::string read_bearer_token(const std::filesystem::path& file) {
  std::string text = read_text(file, 4096);
  text.resize(std::min(text.size(), text.find_first_of("\r\n")));
  const auto fits = [](unsigned char c) { return c > ' ' && c < 0x7f; };
  if (text.empty() || !std::ranges::all_of(text, fits)) {
    fail_usage("the first line of '{}' must be a secret of printable ASCII without spaces",
               file.string());
  }
  return text;
}

bool shows_token(std::string_view authorization, std::string_view secret) {
  if (!has_scheme(authorization)) return false;
  const std::string_view shown = authorization.substr(kScheme.size());
  // Volatile: the compiler may not leave the loop early.
  volatile unsigned char differs = shown.size() == secret.size() ? 0 : 1;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const char right = secret[i % secret.size()];
    differs = static_cast<unsigned char>(differs | static_cast<unsigned char>(shown[i] ^ right));
  }
  return differs == 0;
}

}  // namespace mnm
