#include "families/named_widths.h"

#include "base/error.h"

namespace mnm {

std::vector<Widths> widths_of_set(std::span<const NamedWidths> published, std::string_view set) {
  std::vector<Widths> widths;
  for (const NamedWidths& named : published) {
    // The ends belong to every way to grow.
    if (set == "published" || named.set.empty() || named.set == set) widths.push_back(named.widths);
  }
  if (widths.empty()) {
    fail_usage(
        "the set '{}' is of Gemma 3n E4B, whose authors have published submodels, and this model "
        "has other layers: use uniform, least-slope or monotone",
        set);
  }
  return widths;
}

}  // namespace mnm
