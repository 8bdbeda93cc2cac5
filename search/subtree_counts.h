// How many members of a feasible set lie below a prefix, without enumerating them.
#pragma once

#include <cstddef>
#include <vector>

#include "search/feasible_set.h"

namespace mnm {

// How many members lie below a prefix, for any prefix.
//
// The cost of each limit is taken as additive over the layers (as parameters, bytes and FLOPs are)
// and is counted in steps. Then the number of members below a prefix is an entry of a table. A step
// is the greatest common divisor of what the levels of the layers add. With one limit the counts
// are exact, if the limit leaves at most a few thousand such steps. The counts are estimates in
// three cases: a limit leaves more steps, and a step is a share of what it leaves; costs are not
// additive; or several limits exclude members, and the count is the least of the limits' own
// counts.
class SubtreeCounts {
 public:
  explicit SubtreeCounts(const FeasibleSet& set);

  // The number of members that agree with `prefix` in its first `depth` layers. The other layers of
  // `prefix` are at their narrowest, and it is a member itself, so the number is at least 1. It is
  // at most 2^1000, so that the numbers of siblings can be added.
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
