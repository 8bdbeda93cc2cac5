// Monotone submodels: no layer is narrower than the one before it. heuristics/uniform.h defines
// levels.
#pragma once

#include <cstdint>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Every non-decreasing sequence of levels, in lexicographic order: C(L + g - 1, g - 1) submodels if
// each of L layers has g granularities, and fewer if levels give the same widths. UsageError if
// there are more than `limit`.
std::vector<Widths> monotone_schedule(const WidthSpace& space, std::int64_t limit);

// The number of monotone submodels, exact below 2^53.
double monotone_count(const WidthSpace& space);

}  // namespace mnm
