// Submodels that have a name, because a model's authors have published them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/widths.h"

namespace mnm {

struct NamedWidths {
  std::string name;  // "E2.69 layer": as they call it
  std::string set;   // of several that grow in one way: "block", "layer"; empty: it stands alone
  Widths widths;
  double billions = 0;  // of effective parameters, as they state it
};

// The sets that a user may name: "published" is all of them, and "block" and "layer" are those of
// that set. UsageError if there are none.
std::vector<Widths> widths_of_set(std::span<const NamedWidths> published, std::string_view set);

inline constexpr std::string_view kPublishedSets[] = {"published", "block", "layer"};

}  // namespace mnm
