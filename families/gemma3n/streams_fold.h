// The parallel streams of a Gemma 3n (AltUp): how they start, how a layer predicts and corrects
// them, and how they become one. Baykal et al., "Alternating Updates for Efficient Transformers"
// (arXiv 2301.13310). Compiled only into the engine.
//
// rows are tokens of all nodes and sequences; streams are [rows, A, d], A of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace mnm {

struct AltUpWeights {
  at::Tensor router, router_norm;  // [A, d], [d]
  at::Tensor prediction;           // [A * A, A]
  at::Tensor correction;           // [A, A]
  double epsilon = 1e-6;           // of the norm
  std::int64_t active = 0;         // the stream that the layer works on
};

// x [rows, d] and what `projections` ([d, d] each) make of it, brought to the magnitude of x.
at::Tensor start_streams(const at::Tensor& x, const std::vector<at::Tensor>& projections);

// What the layer expects of every stream, from the active one.
at::Tensor predict(const AltUpWeights& weights, const at::Tensor& streams);

// predicted [rows, A, d] and the layer's results [children, rows, d], for several children of one
// parent -> [children, rows, A, d]: every stream moves by its share of what the active one missed.
at::Tensor correct(const AltUpWeights& weights, const at::Tensor& predicted,
                   const at::Tensor& results);

// [rows, d]: the mean of the first stream and of what `projections` make of the others, brought to
// the first one's magnitude.
at::Tensor end_streams(const at::Tensor& streams, const std::vector<at::Tensor>& projections);

}  // namespace mnm
