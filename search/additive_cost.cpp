#include "search/additive_cost.h"

#include <cmath>
#include <utility>

namespace mnm {

AdditiveCost::AdditiveCost(const FeasibleSet& set, std::function<double(const Widths&)> cost)
    : set_(set), cost_(std::move(cost)) {
  Levels member = set.narrowest();
  base_ = cost_(set.widths(member));
  for (std::size_t layer = 0; layer < set.layers(); ++layer) {
    parts_.emplace_back();
    for (member[layer] = 0; member[layer] < set.levels(layer); ++member[layer]) {
      parts_.back().push_back(cost_(set.widths(member)) - base_);
    }
    member[layer] = 0;
  }
  // The widest, and eight submodels whose levels are spread by a fixed rule.
  for (std::size_t probe = 0; probe <= 8 && additive_; ++probe) {
    for (std::size_t layer = 0; layer < set.layers(); ++layer) {
      const auto levels = static_cast<std::size_t>(set.levels(layer));
      const std::size_t level =
          probe == 0 ? levels - 1 : (layer * (2 * probe + 1) + probe) % levels;
      member[layer] = static_cast<std::int32_t>(level);
    }
    const double exact = cost_(set.widths(member));
    additive_ = std::fabs(of(member) - exact) <= 1e-9 * std::fabs(exact);
  }
}

double AdditiveCost::of(const Levels& member) const {
  if (!additive_) return cost_(set_.widths(member));
  double sum = base_;
  for (std::size_t layer = 0; layer < member.size(); ++layer) sum += part(layer, member[layer]);
  return sum;
}

}  // namespace mnm
