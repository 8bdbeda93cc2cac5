// The front of cost and predicted loss where losses are sums over layers and over layers that
// follow each other, by dynamic programming: the loss of the first layers depends on what comes
// after through the last of them alone.
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
  // Single terms [layers][levels], and of `losses` the pairs of layers that follow each other.
  std::vector<std::vector<double>> single;
  const PairTable* losses = nullptr;  // none: no pairs
  std::size_t states = 4096;          // kept per layer and level; beyond, one per slice of cost
};

// Members by ascending cost and descending predicted loss, each of them a member of the set. Exact
// (up to rounding) where costs are additive and no list of states outgrows `states`: the partial
// submodels that are dropped are those that another one of the same last level precedes in cost, in
// what each limit counts, and in loss. Never empty.
std::vector<Levels> chain_front(const ChainProblem& problem);

}  // namespace mnm
