// Each layer at each of its choices, the others wide: the additive model of a nested checkpoint.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "search/feasible_set.h"

namespace mnm {

// What the others are: the full submodel, or under budgets the widest uniform one that they leave,
// or the narrowest of all.
Levels sensitivity_base(const FeasibleSet& set);

// The base, then each layer at each of its other levels, as far as the budgets allow: by layer,
// then by level. At most one more than the layers have choices.
std::vector<Levels> sensitivity_members(const FeasibleSet& set);

// [layers][levels]: the loss of each of those less the base's, which is the first of `members`. A
// level that was not measured, or failed, is interpolated between the measured ones around it, and
// is the nearest one beyond; in a layer that was not measured, it is the other layers' mean.
std::vector<std::vector<double>> additive_losses(const FeasibleSet& set,
                                                 std::span<const Levels> members,
                                                 std::span<const double> losses);

}  // namespace mnm
