// The front of cost and predicted loss, by dynamic programming, where a loss is a sum over layers
// and over pairs of neighbouring layers. Then the layers that come later affect the loss of the
// first layers only through the last of these. This is a multiple-choice knapsack problem, solved
// for every budget at once.
#pragma once

#include <cstddef>
#include <vector>

#include "search/additive_cost.h"
#include "search/feasible_set.h"
#include "search/pair_table.h"

namespace mnm {

// A multiple-choice knapsack, for every budget at once.
struct ChainProblem {
  const FeasibleSet& set;
  const AdditiveCost& cost;
  std::vector<AdditiveCost> limits;  // of set.problem().limits, in their order
  // Terms of single layers, [layers][levels], and the pairs of neighbouring layers of `losses`.
  std::vector<std::vector<double>> single;
  const PairTable* losses = nullptr;  // none: no pairs
  std::size_t states = 4096;          // kept per layer and level; beyond, one per slice of cost
};

// Members of the set, by ascending cost and descending predicted loss. Never empty. The result is
// exact (up to rounding) if costs are additive and no list of states grows beyond `states`. A
// partial submodel is dropped if another with the same last level is at least as good in cost, in
// what each limit counts, and in loss.
std::vector<Levels> chain_front(const ChainProblem& problem);

}  // namespace mnm
