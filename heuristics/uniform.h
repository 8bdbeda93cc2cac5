// Uniform submodels: the same level of granularity in every layer. A layer's level k is the k-th of
// its own granularities; levels run to the fewest that any layer has. No member skips a layer.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/width_space.h"

namespace mnm {

// Each layer's level k of its own granularities, for all k, narrowest first. g submodels.
std::vector<Widths> uniform_schedule(const WidthSpace& space);

// The widths of these levels, one level per layer.
Widths widths_at(const WidthSpace& space, std::span<const std::size_t> levels);

}  // namespace mnm
