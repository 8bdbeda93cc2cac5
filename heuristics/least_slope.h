// MatFormer's least slope (Devvrit et al. 2023, "Mix'n'Match"): widths that grow with depth, by one
// level at most. Levels are those of heuristics/uniform.h.
#pragma once

#include <vector>

#include "model/width_space.h"

namespace mnm {

// Uniform submodels, and between two of them those of two adjacent levels with the narrower one
// first: g + (g - 1)(L - 1) submodels where all layers have g granularities, fewer where levels
// give the same widths. Each is at least as wide in every layer as the one before.
std::vector<Widths> least_slope_schedule(const WidthSpace& space);

}  // namespace mnm
