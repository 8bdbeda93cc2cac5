// FLOPs of a forward pass, per position (token) of an example. A multiplication and an addition are
// two FLOPs. Only these are counted: products with the model's tensors, attention, and scans.
// model/cost.h uses the counts for one submodel, and eval/prefix_tree.h for a set of submodels that
// share work.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/cost.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

// How many positions a token of a sequence of `context` tokens attends to, on average. A causal
// token at position t attends to min(t + 1, window).
double attended_positions(const LayerMixing& mixing, std::int64_t context);

// FLOPs of a layer besides the products with its tensors. 0 if it is skipped.
double mixing_flops(const LayerMixing& mixing, Width width, std::int64_t context);

// FLOPs that each of several siblings needs for itself. They are a part of the layer's FLOPs. 0 if
// it is skipped.
double sibling_flops(const LayerMixing& mixing, Width width);

// FLOPs of the parts of a model for examples of `context` positions. `scored` is the share of the
// outputs that are computed. The model outlives this object.
class ForwardFlops {
 public:
  ForwardFlops(const NestedModel& model, std::int64_t context, double scored = 1)
      : model_(model), costs_(model, {model.dtype, context}), scored_(scored) {}

  // A layer alone.
  double layer(std::size_t layer, Width width) const { return costs_.layer(layer, width).flops; }
  // One of several siblings. The widest pays for the work that all share, and the others pay only
  // for their own work.
  double sibling(std::size_t layer, Width width, bool widest) const {
    return widest ? this->layer(layer, width) : sibling_flops(model_.mixing.at(layer), width);
  }
  // What belongs to no layer: what makes the first layer's input, and the head.
  double embedding() const { return costs_.fixed().embedding_flops; }
  double readout() const {
    return (costs_.fixed().flops - costs_.fixed().embedding_flops) * scored_;
  }
  std::int64_t context() const { return costs_.basis().context; }

 private:
  const NestedModel& model_;
  CostTable costs_;
  double scored_;
};

}  // namespace mnm
