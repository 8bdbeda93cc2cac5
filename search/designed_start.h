// The submodels a surrogate search begins with.
#pragma once

#include <cstddef>
#include <vector>

#include "base/random.h"
#include "search/feasible_set.h"

namespace mnm {

// How many submodels the start has: a quarter of all evaluations and at least 12, but no more than
// give new information.
std::size_t designed_start_size(const FeasibleSet& set, std::uint64_t evaluations);

// `count` different members, or all members if there are fewer:
//
// 1. The uniform submodels, and the narrowest and the widest of all.
// 2. Between each of these and the next: the two submodels whose late half, or early half, is one
//    level up.
// 3. The same with other halves. Each is the best of several random ones: the one that adds least
//    to E(s^2), the sum over all pairs of layers of (results in which both are up or both down,
//    minus the others) squared. So few layers change together, and a result says something about
//    every layer. (Supersaturated two-level designs, Booth and Cox 1962. Changing one layer at a
//    time needs as many results as there are layers.)
//
// A submodel that is over a budget is narrowed until it is within.
std::vector<Levels> designed_start(const FeasibleSet& set, std::size_t count, Random& random);

}  // namespace mnm
