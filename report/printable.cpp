#include "report/printable.h"

#include <fmt/format.h>

#include <algorithm>

namespace mnm {
namespace {

// The bytes of the UTF-8 character that `text` starts with; 0 where it is none.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length = byte(0) < 0x80   ? 1
                             : byte(0) < 0xc2 ? 0  // a continuation, or longer than need be
                             : byte(0) < 0xe0 ? 2
                             : byte(0) < 0xf0 ? 3
                             : byte(0) < 0xf5 ? 4
                                              : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7f;
  return first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;  // U+0080 to U+009F
}

}  // namespace

std::string printable(std::string_view text, std::string_view kept) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    const bool stays =
        length > 0 && (!is_control(character) || kept.find(character[0]) != kept.npos);
    for (const char byte : character) {
      if (stays) {
        out += byte;
      } else {
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
      }
    }
    text.remove_prefix(character.size());
  }
  return out;
}

std::string shortened(std::string text, std::size_t longest) {
  if (text.size() <= longest) return text;
  constexpr std::size_t kNote = 48;  // " [... 18446744073709551615 bytes ...] " and less
  const auto continues = [&](std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  const std::size_t kept = longest - std::min(kNote, longest);
  std::size_t begin = kept - kept / 3, end = text.size() - kept / 3;
  while (begin > 0 && continues(begin)) --begin;
  while (continues(end)) ++end;
  return text.replace(begin, end - begin, fmt::format(" [... {} bytes ...] ", end - begin));
}

}  // namespace mnm
