// FLOPs of a forward pass, per token: multiply and add are counted apart, and products with the
// model's tensors, attention and scans are counted, nothing else. model/cost.h counts one submodel
// with them, eval/prefix_tree.h a set of submodels that share work.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/cost.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

// How many positions a token of a sequence of `context` tokens attends to, on average. With
// causality, the token at position t attends to min(t + 1, window).
double attended_positions(const LayerMixing& mixing, std::int64_t context);

// What a layer does besides the products with its tensors. 0 where it is skipped.
double mixing_flops(const LayerMixing& mixing, Width width, std::int64_t context);

// What each of several siblings does for itself: a part of its layer's FLOPs. 0 where it is
// skipped.
double sibling_flops(const LayerMixing& mixing, Width width);

// FLOPs of the parts of a model for sequences of `context` tokens, of whose positions the share
// `scored` is read out. The model outlives it.
class ForwardFlops {
 public:
  ForwardFlops(const NestedModel& model, std::int64_t context, double scored = 1)
      : model_(model), costs_(model, {model.dtype, context}), scored_(scored) {}

  // A layer alone.
  double layer(std::size_t layer, Width width) const { return costs_.layer(layer, width).flops; }
  // One of several siblings: the widest of them pays for what all share, the others for what they
  // do themselves.
  double sibling(std::size_t layer, Width width, bool widest) const {
    return widest ? this->layer(layer, width) : sibling_flops(model_.mixing.at(layer), width);
  }
  double readout() const {  // what belongs to no layer: the head
    return costs_.fixed().flops * scored_;
  }

 private:
  const NestedModel& model_;
  CostTable costs_;
  double scored_;
};

}  // namespace mnm
