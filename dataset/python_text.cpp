#include "dataset/python_text.h"

#include <algorithm>

namespace mnm {
namespace {

// The characters of str.isspace() and of \s, which are the same ones.
constexpr std::string_view kSpace[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

bool is_space(std::string_view character) {
  return std::ranges::find(kSpace, character) != std::end(kSpace);
}

}  // namespace

std::int64_t code_points(std::string_view text) {
  return std::ranges::count_if(text, [](char byte) { return !continues(byte); });
}

std::int64_t words_of_text(std::string_view text) {
  std::int64_t pieces = 1;
  bool in_space = false;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    while (end < text.size() && continues(text[end])) ++end;
    const bool space = is_space(text.substr(at, end - at));
    if (space && !in_space) ++pieces;
    in_space = space;
    at = end;
  }
  return pieces;
}

std::size_t trailing_space(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && continues(text[begin])) --begin;
    if (!is_space(text.substr(begin, end - begin))) break;
    end = begin;
  }
  return text.size() - end;
}

}  // namespace mnm
