// Closed-form families of submodels over a space's granularities. A layer's level k is the k-th of
// its own granularities; levels run to the fewest that any layer has. No member skips a layer.
#pragma once

#include <cstdint>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Each layer's level k of its own granularities, for all k, narrowest first. g submodels.
std::vector<Widths> uniform_schedule(const WidthSpace& space);

// Uniform, and two adjacent levels with the narrower one first: MatFormer's least slope
// (Devvrit et al. 2023, "Mix'n'Match"). g + (g - 1)(L - 1) submodels, each at least as wide in
// every layer as the one before.
std::vector<Widths> least_slope_schedule(const WidthSpace& space);

// Every non-decreasing sequence of levels, in lexicographic order: C(L + g - 1, g - 1). UsageError
// where these are more than `limit`.
std::vector<Widths> monotone_schedule(const WidthSpace& space, std::int64_t limit);

// How many those are, exact below 2^53.
double monotone_count(const WidthSpace& space);

}  // namespace mnm
