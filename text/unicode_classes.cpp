#include "text/unicode_classes.h"

#include <algorithm>
#include <vector>

namespace mnm {
namespace {

// Upper and lower case by turns, the first one upper.
constexpr auto kCased = static_cast<CharClass>(255);

std::vector<CharClass> classes() {
  using enum CharClass;
  struct Range {
    char32_t first, last;
    CharClass kind;
  };
  // Made by tests/text/unicode_tables.py, as are the other tables of this folder.
  static constexpr Range kRanges[] = {
#include "text/unicode_classes.inc"
  };
  std::vector<CharClass> out(0x110000, kOther);
  for (const auto& [first, last, kind] : kRanges) {
    for (char32_t c = first; c <= last; ++c) {
      out[c] = kind != kCased ? kind : (c - first) % 2 == 0 ? kUpper : kLower;
    }
  }
  return out;
}

}  // namespace

CharClass class_of(char32_t c) {
  static const std::vector<CharClass> table = classes();
  return c < table.size() ? table[c] : CharClass::kOther;
}

}  // namespace mnm
