// Uniform submodels: the same level of granularity in every layer. There are as many levels as the
// layer with the most granularities has. A layer with fewer is counted from its widest down; at the
// levels below, it stays at its narrowest (rank_of_level). So the widest submodel is always a
// member, here and in the other schedules. No member skips a layer.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Every layer at level k of its own granularities, for all k, narrowest first. g levels give g
// submodels.
std::vector<Widths> uniform_schedule(const WidthSpace& space);

// The widths of these levels, one level per layer.
Widths widths_at(const WidthSpace& space, std::span<const std::size_t> levels);

}  // namespace mnm
