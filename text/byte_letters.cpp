#include "text/byte_letters.h"

#include <array>
#include <unordered_map>

#include "text/utf8.h"

namespace mnm {
namespace {

std::array<unsigned, 256> letters() {
  const auto printable = [](unsigned b) {
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  };
  std::array<unsigned, 256> code{};
  unsigned next = 0x100;
  for (unsigned b = 0; b < 256; ++b) code[b] = printable(b) ? b : next++;
  return code;
}

}  // namespace

std::string byte_letter(unsigned char byte) {
  static const std::array<unsigned, 256> code = letters();
  std::string letter;
  append_utf8(letter, code[byte]);
  return letter;
}

std::string bytes_of_letters(std::string_view token) {
  static const std::unordered_map<char32_t, char> bytes = [] {
    std::unordered_map<char32_t, char> map;
    const std::array<unsigned, 256> code = letters();
    for (unsigned b = 0; b < 256; ++b) map[code[b]] = static_cast<char>(b);
    return map;
  }();
  std::string out;
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint point = code_point_at(token, at);
    const auto found = bytes.find(point.value);
    if (!point.valid || found == bytes.end()) return std::string(token);
    out += found->second;
    at += point.bytes;
  }
  return out;
}

}  // namespace mnm
