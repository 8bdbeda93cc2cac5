// How many members of a feasible set lie below a prefix, without enumerating them.
#pragma once

#include <vector>

#include "search/feasible_set.h"

namespace mnm {

// Each limit's cost is taken as additive over the layers (as parameters, bytes and FLOPs are) and
// counted in kSteps steps of what the limit leaves above the narrowest submodel; the count below a
// prefix is then a table. Where costs are not additive, not whole steps, or several limits bind at
// once, the counts are estimates.
class SubtreeCounts {
 public:
  explicit SubtreeCounts(const FeasibleSet& set);

  // Members that agree with `prefix` in its first `depth` layers. Its other layers are at their
  // narrowest, and it is a member itself: at least 1.
  double below(const Levels& prefix, std::size_t depth) const;

 private:
  struct Table {
    const Limit* limit = nullptr;
    double step = 0;                          // cost of one step; 0: nothing may be added
    std::vector<std::vector<double>> counts;  // [layers + 1][kSteps + 1]: by steps that are left
  };

  const FeasibleSet& set_;
  std::vector<Table> tables_;    // per finite limit
  std::vector<double> unbound_;  // [layers + 1]: submodels of the layers from here on
};

}  // namespace mnm
