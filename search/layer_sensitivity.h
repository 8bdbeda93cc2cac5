// Each layer at each of its choices, with the other layers wide: the additive model of a nested
// checkpoint.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "search/feasible_set.h"

namespace mnm {

// The base, which gives the widths of the other layers: the full submodel, or, under budgets, the
// widest uniform submodel within them, or the narrowest submodel of all.
Levels sensitivity_base(const FeasibleSet& set);

// The base, then each layer at each of its other levels that the budgets allow: by layer, then by
// level. At most one more than the layers have choices.
std::vector<Levels> sensitivity_members(const FeasibleSet& set);

// [layers][levels]: the loss of each of these less the loss of the base, which is the first of
// `members`. A level that was not measured, or failed, is interpolated between the measured levels
// around it; beyond them it takes the nearest. A layer without any measurement takes the mean of
// the other layers.
std::vector<std::vector<double>> additive_losses(const FeasibleSet& set,
                                                 std::span<const Levels> members,
                                                 std::span<const double> losses);

}  // namespace mnm
