// The submodels a surrogate search begins with.
#pragma once

#include <cstddef>
#include <vector>

#include "model/random.h"
#include "search/feasible_set.h"

namespace mnm {

// How many are worth it: a quarter of all evaluations and at least 12, but no more than say
// something new.
std::size_t designed_start_size(const FeasibleSet& set, std::uint64_t evaluations);

// `count` different members, or all where they are fewer:
// 1. the uniform ones, and the narrowest and the widest of all;
// 2. between each of those and the next, the two whose late and whose early half is a level up;
// 3. the same with halves drawn at random: every layer is up in half of them and down in the other,
//    so that each result tells something of every layer (a supersaturated two-level design; one
//    layer changed at a time needs as many results as there are layers).
// What is over a budget is narrowed until it is not.
std::vector<Levels> designed_start(const FeasibleSet& set, std::size_t count, Random& random);

}  // namespace mnm
