#include "text/utf8.h"

#include <utility>

namespace mnm {

CodePoint code_point_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {first, 1, true, false};
  // How many bytes follow, and what the next one may be (RFC 3629, section 4).
  std::size_t more = 0;
  unsigned char low = 0x80, high = 0xbf;
  char32_t value = 0;
  if (first >= 0xc2 && first <= 0xdf) {
    more = 1;
    value = first & 0x1f;
  } else if (first >= 0xe0 && first <= 0xef) {
    more = 2;
    value = first & 0x0f;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    more = 3;
    value = first & 0x07;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  } else {
    return {0, 1, false, false};
  }
  for (std::size_t i = 1; i <= more; ++i) {
    if (at + i == text.size()) return {0, i, false, true};
    if (byte(at + i) < low || byte(at + i) > high) return {0, i, false, false};
    value = (value << 6) | (byte(at + i) & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  return {value, more + 1, true, false};
}

void append_utf8(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static constexpr unsigned kLead[] = {0, 0xc0, 0xe0, 0xf0};
  text += static_cast<char>(kLead[more] | (c >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3f));
}

std::size_t valid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const CodePoint point = code_point_at(text, at);
    if (!point.valid) return at;
    at += point.bytes;
  }
  return at;
}

std::string Utf8Stream::feed(std::string_view bytes) {
  waiting_ += bytes;
  std::string out;
  std::size_t at = 0;
  while (at < waiting_.size()) {
    const CodePoint point = code_point_at(waiting_, at);
    if (point.cut_short) break;
    point.valid ? out.append(waiting_, at, point.bytes) : out.append("\xef\xbf\xbd");
    at += point.bytes;
  }
  waiting_.erase(0, at);
  return out;
}

std::string Utf8Stream::finish() {
  return std::exchange(waiting_, "").empty() ? "" : "\xef\xbf\xbd";
}

}  // namespace mnm
