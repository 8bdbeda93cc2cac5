// What a strategy is told of the search: the space, and what each choice costs. No scores, no model.
#pragma once

#include <cstdint>
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
  std::function<double(const Widths&)> cost;  // the front's cost axis
  std::vector<Limit> limits;                  // the budgets

  bool feasible(const Widths& widths) const;
  // Sum over limits of the relative excess; 0 where feasible.
  double violation(const Widths& widths) const;
  // UsageError naming the smallest budget that something meets, where even the narrowest submodel
  // exceeds a limit.
  void require_feasible() const;
};

}  // namespace mnm
