#include "text/unicode_classes.h"

#include <algorithm>
#include <iterator>

namespace mnm {
namespace {

struct Range {
  char32_t first, last;
  CharClass kind;
};

// Ascending. Made by tests/text/unicode_classes.py.
constexpr Range kRanges[] = {
#define MNM_RANGE(first, last, kind) {first, last, CharClass::k##kind},
#include "text/unicode_classes.inc"
#undef MNM_RANGE
};

}  // namespace

CharClass class_of(char32_t c) {
  const Range* const found = std::ranges::lower_bound(kRanges, c, {}, &Range::last);
  return found != std::end(kRanges) && found->first <= c ? found->kind : CharClass::kOther;
}

}  // namespace mnm
