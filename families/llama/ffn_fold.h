// The gated FFN of a Llama layer, for all children of some parents. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "families/llama/config.h"
#include "families/removed_means.h"
#include "fold/fold.h"

namespace mnm {

struct LlamaFfnWeights {
  at::Tensor norm;                           // of the input, [d] or undefined
  at::Tensor post_norm;                      // of the output, [d] or undefined
  at::Tensor gate, up, down;                 // [w, d], [w, d], [d, w]
  at::Tensor gate_bias, up_bias, down_bias;  // [w], [w], [d] or undefined
  RemovedMeans removed;                      // what down_bias gains at each width
};

// x [parents, sequences, tokens, d] -> [children, sequences, tokens, d]. A child is x +
// FFN(norm(x)), where x is its parent's and the FFN has the child's width. If the weights have a
// norm of the output, it is x + norm(FFN(x)).
//
// With gradients every child is computed alone. Without, siblings come out of one pass over the
// widest: y(w2) = y(w1) + down[:, w1:w2] act[w1:w2]. Each partial sum is a finished child, but for
// what its width's bias gains. `sink`, if there is one, gets the activations of the widest child,
// block by block.
at::Tensor llama_ffn(const LlamaConfig& config, const LlamaFfnWeights& weights, const at::Tensor& x,
                     const Children& children, const ChannelSink& sink = {});

// The same for rows [1, 1, rows, d] of which each run has a width of its own, without gradients.
// Each weight is read once: neurons [w1, w2) are multiplied with the rows whose width is w2 or
// more.
at::Tensor llama_ffn(const LlamaConfig& config, const LlamaFfnWeights& weights, const at::Tensor& x,
                     std::span<const Run> runs);

}  // namespace mnm
