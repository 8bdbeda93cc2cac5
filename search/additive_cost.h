// A cost as a sum over layers, as parameters, bytes and FLOPs are: O(1) to change a layer.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "search/feasible_set.h"

namespace mnm {

class AdditiveCost {
 public:
  // Read off the cost of the narrowest member and of those that differ from it in one layer.
  AdditiveCost(const FeasibleSet& set, std::function<double(const Widths&)> cost);

  // Whether the sum agrees with the cost, to within rounding, wherever that was looked at: at the
  // widest submodel and at ones between. Else of() asks the cost itself.
  bool additive() const { return additive_; }

  double base() const { return base_; }  // of the narrowest
  // What a layer's level adds to that; from 0 on, never falling.
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
