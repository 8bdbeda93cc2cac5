// Monotone submodels: no layer is narrower than the one before it. Levels are those of
// heuristics/uniform.h.
#pragma once

#include <cstdint>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Every non-decreasing sequence of levels, in lexicographic order: C(L + g - 1, g - 1) where all
// layers have g granularities, fewer where levels give the same widths. UsageError where these are
// more than `limit`.
std::vector<Widths> monotone_schedule(const WidthSpace& space, std::int64_t limit);

// How many those are, exact below 2^53.
double monotone_count(const WidthSpace& space);

}  // namespace mnm
