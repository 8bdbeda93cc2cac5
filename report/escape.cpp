#include "report/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mnm {
namespace {

// The bytes of the UTF-8 character that `text` starts with; 0 where it is none: also a surrogate,
// what lies past U+10FFFF, and what is longer than need be.
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
  if (length < 3) return length;
  const bool sound = byte(0) == 0xe0   ? byte(1) >= 0xa0
                     : byte(0) == 0xed ? byte(1) < 0xa0
                     : byte(0) == 0xf0 ? byte(1) >= 0x90
                     : byte(0) == 0xf4 ? byte(1) < 0x90
                                       : true;
  return sound ? length : 0;
}

char32_t code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first;
  char32_t code = first & (0xffu >> (character.size() + 1));
  for (const char c : character.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3f);
  return code;
}

constexpr std::pair<char32_t, char32_t> kUnprintable[] = {
#include "report/unprintable.inc"
};

bool is_printable(char32_t code) {
  const auto* range =
      std::ranges::lower_bound(kUnprintable, code, {}, &std::pair<char32_t, char32_t>::second);
  return range == std::end(kUnprintable) || code < range->first;
}

// `text` with `escape` in the place of each character that is not printable, or is none (then its
// first byte), but for the control characters in `kept`.
template <typename Escape>
std::string escaped(std::string_view text, std::string_view kept, const Escape& escape) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    const bool stays = length > 0 && (is_printable(code_point(character)) ||
                                      (length == 1 && kept.find(character[0]) != kept.npos));
    out += stays ? std::string(character) : escape(character, length > 0);
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text, std::string_view kept) {
  return escaped(text, kept, [](std::string_view character, bool) {
    std::string out;
    for (const char byte : character) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
    return out;
  });
}

std::string printable_json(std::string_view json) {
  return escaped(json, "\n", [](std::string_view character, bool is_character) -> std::string {
    if (!is_character) return "\\ufffd";
    const auto code = static_cast<std::uint32_t>(code_point(character));
    if (code < 0x10000) return fmt::format("\\u{:04x}", code);
    return fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10),
                       0xdc00 + ((code - 0x10000) & 0x3ff));
  });
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
