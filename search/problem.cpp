#include "search/problem.h"

#include <cmath>

#include "base/error.h"

namespace mnm {
namespace {

// Exact, so that what a message names can be typed in: whole numbers without exponent or point.
std::string exact(double value) {
  if (std::floor(value) == value && std::fabs(value) < 0x1p63) {
    return fmt::format("{}", static_cast<long long>(value));
  }
  return fmt::format("{}", value);
}

}  // namespace

bool SearchProblem::feasible(const Widths& widths) const {
  for (const Limit& limit : limits) {
    if (!(limit.cost(widths) <= limit.at_most)) return false;
  }
  return true;
}

Widths SearchProblem::narrowest() const {
  Widths widths;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    widths.push_back(space.choices(layer).front());
  }
  return widths;
}

void SearchProblem::require_feasible() const {
  const Widths least = narrowest();
  std::string unmet;
  for (const Limit& limit : limits) {
    const double smallest = limit.cost(least);
    if (smallest <= limit.at_most) continue;
    unmet += fmt::format("{}a budget of {} {} (the smallest that one meets is {})",
                         unmet.empty() ? "" : ", nor ", exact(limit.at_most), limit.name,
                         exact(smallest));
  }
  if (!unmet.empty()) {
    const bool bounds = !unbounded.empty() && feasible(unbounded);
    fail_usage("no submodel meets {}; the narrowest{} is {}: raise the budget{}", unmet,
               bounds ? " that --keep leaves" : "", to_string(least),
               bounds ? fmt::format(", or lower the widths of --keep, without which {} meets it",
                                    to_string(unbounded))
               : least == space.full()
                   ? ", name the trained widths with --granularities, or, if the checkpoint is an "
                     "ordinary one, nest it first (mixnmatch nest)"
                   : "");
  }
}

}  // namespace mnm
