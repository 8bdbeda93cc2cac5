// A cost as a sum over layers, as parameters, bytes and FLOPs are. Changing one layer then takes
// O(1).
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "search/feasible_set.h"

namespace mnm {

class AdditiveCost {
 public:
  // Reads the sum's parts from the costs of the narrowest member and of members that differ from it
  // in one layer.
  AdditiveCost(const FeasibleSet& set, std::function<double(const Widths&)> cost);

  // Whether the sum agrees with the cost, up to rounding, at the submodels that were tried: the
  // widest and some between. If not, of() calls the cost function itself.
  bool additive() const { return additive_; }

  double base() const { return base_; }  // of the narrowest
  // What a level of a layer adds to base(); at least 0, and never falling with the level.
  double part(std::size_t layer, std::int32_t level) const {
    return parts_[layer][static_cast<std::size_t>(level)];
  }
  double of(const Levels& member) const;

 private:
  const FeasibleSet& set_;
  std::function<double(const Widths&)> cost_;
  double base_ = 0;
  std::vector<std::vector<double>> parts_;  // [layers][levels]
  bool additive_ = true;
};

}  // namespace mnm
