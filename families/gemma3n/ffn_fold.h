// The FFN of a Gemma 3n layer, for all siblings of one parent. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "fold/fold.h"
#include "model/widths.h"

namespace mnm {

struct Gemma3nFfnWeights {
  at::Tensor gate, up, down;  // [w, d], [w, d], [d, w]
  double sparsity = 0;        // share of the gates that are clipped; 0: none
  bool sample = false;        // their deviation is that of a sample
};

// x [rows, d] -> [widths, rows, d]: down(gelu(gate(x)) * up(x)) at each width. The widths ascend.
//
// gate and up run once, at the widest. If no gate is clipped, each partial sum of down is a
// finished sibling. Else each sibling clips by the mean and the standard deviation of its own
// gates, down to relu(g - (mean + z * deviation)) with z the quantile of the sparsity, and has its
// own product with down.
//
// With gradients every sibling is computed alone. `sink`, if there is one, gets what the widest
// sibling multiplies down with.
at::Tensor gemma3n_ffn(const Gemma3nFfnWeights& weights, const at::Tensor& x,
                       std::span<const Width> widths, const ChannelSink& sink = {});

// The same for rows of which each run has a width of its own, without gradients: [rows, d]. Each
// weight is read once.
at::Tensor gemma3n_ffn(const Gemma3nFfnWeights& weights, const at::Tensor& x,
                       std::span<const Run> runs);

}  // namespace mnm
