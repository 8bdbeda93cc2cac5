// MatFormer's least slope (Devvrit et al. 2023, "Mix'n'Match"): widths that grow with depth, by at
// most one level. heuristics/uniform.h defines levels.
#pragma once

#include <cstddef>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// The uniform submodels, and between two neighbours of them the submodels of both levels with the
// narrower level first. That makes g + (g - 1)(L - 1) submodels if each of L layers has g
// granularities, and fewer if levels give the same widths. Each is at least as wide in every layer
// as the one before.
std::vector<Widths> least_slope_schedule(const WidthSpace& space);

// One of them by its place, in time O(L). Places run from 0 to (g - 1) L, the full submodel, and
// members that are equal keep a place each.
std::size_t least_slope_places(const WidthSpace& space);
Widths least_slope_member(const WidthSpace& space, std::size_t place);

}  // namespace mnm
