// Closed-form families of submodels over a space's granularities.
#pragma once

#include <cstdint>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Each layer's level k of its own granularities, for all k. g submodels.
std::vector<Widths> uniform_schedule(const WidthSpace& space);

// Uniform, and two adjacent levels with the narrower one first: MatFormer's least slope.
// g + (g - 1)(L - 1) submodels.
std::vector<Widths> least_slope_schedule(const WidthSpace& space);

// Every non-decreasing sequence of levels: C(L + g - 1, g - 1). UsageError where these are more
// than `limit`.
std::vector<Widths> monotone_schedule(const WidthSpace& space, std::int64_t limit);
double monotone_count(const WidthSpace& space);

}  // namespace mnm
