// What a strategy knows about the search: the space, and what each choice costs. It sees neither
// scores nor the model.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/width_space.h"

namespace mnm {

struct Limit {
  std::string name;  // "params", for messages
  double at_most = 0;
  std::function<double(const Widths&)> cost;  // non-decreasing in every layer's width
};

struct SearchProblem {
  WidthSpace space;
  std::function<double(const Widths&)> cost{};  // the front's cost axis
  std::vector<Limit> limits{};                  // the budgets; none: everything is feasible
  // What the narrowest submodel would be if the user's bounds of layers (--keep) did not exclude
  // it; empty without bounds.
  Widths unbounded{};

  bool feasible(const Widths& widths) const;

  // Every layer at the first of its choices. Costs are monotone, so this is the cheapest submodel
  // under each limit. Something is feasible exactly if this submodel is.
  Widths narrowest() const;

  // UsageError if nothing is feasible. It names each limit that even the narrowest submodel
  // exceeds, and the smallest budget that some submodel meets.
  void require_feasible() const;
};

}  // namespace mnm
