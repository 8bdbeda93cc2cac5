// MatFormer's least slope (Devvrit et al. 2023, "Mix'n'Match"): widths that grow with depth, by at
// most one level. heuristics/uniform.h defines levels.
#pragma once

#include <vector>

#include "model/width_space.h"

namespace mnm {

// The uniform submodels, and between two neighbours of them the submodels of both levels with the
// narrower level first. That makes g + (g - 1)(L - 1) submodels if each of L layers has g
// granularities, and fewer if levels give the same widths. Each is at least as wide in every layer
// as the one before.
std::vector<Widths> least_slope_schedule(const WidthSpace& space);

}  // namespace mnm
