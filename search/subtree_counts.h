// How many members of a feasible set lie below a prefix, without enumerating them.
#pragma once

#include <cstddef>
#include <vector>

#include "search/feasible_set.h"

namespace mnm {

// Each limit's cost is taken as additive over the layers (as parameters, bytes and FLOPs are) and
// counted in steps; the members below a prefix are then a table's entry. Steps are the greatest
// common divisor of what the layers' levels add, so that the counts are exact under one limit, as
// long as the limit leaves no more than a few thousand such steps. Otherwise steps are a share of
// what it leaves, and the counts estimates; likewise where costs are not additive, and, as the
// least of each limit's own count, where several limits bind at once.
class SubtreeCounts {
 public:
  explicit SubtreeCounts(const FeasibleSet& set);

  // Members that agree with `prefix` in its first `depth` layers. Its other layers are at their
  // narrowest, and it is a member itself: at least 1. At most 2^1000, so that siblings can be
  // added.
  double below(const Levels& prefix, std::size_t depth) const;

 private:
  struct Table {
    const Limit* limit = nullptr;
    double step = 1;                          // cost of one step
    bool exact = false;                       // whether every level adds whole steps
    std::vector<std::vector<double>> counts;  // [layers + 1][steps + 1]: by steps that are left

    std::size_t steps_in(double cost) const;
  };

  const FeasibleSet& set_;
  std::vector<Table> tables_;    // per finite limit
  std::vector<double> unbound_;  // [layers + 1]: submodels of the layers from here on
};

}  // namespace mnm
