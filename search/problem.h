// What a strategy is told of the search: the space, and what each choice costs. No scores, no
// model.
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
  std::function<double(const Widths&)> cost;  // the front's cost axis
  std::vector<Limit> limits;                  // the budgets; none: everything is feasible

  bool feasible(const Widths& widths) const;

  // Every layer at the first of its choices: by monotony the least costly submodel under each
  // limit, so that something is feasible exactly if this is.
  Widths narrowest() const;

  // UsageError naming each limit that even the narrowest submodel exceeds, and the smallest budget
  // that something meets.
  void require_feasible() const;
};

}  // namespace mnm
