// Attention of a Llama-shaped layer, of whole sequences or of the next tokens of one. Compiled only
// into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "families/llama/config.h"
#include "fold/fold.h"

namespace mnm {

struct LlamaAttentionWeights {
  at::Tensor norm;            // of the input, [d] or undefined
  at::Tensor post_norm;       // of the output, [d] or undefined
  at::Tensor qkv, qkv_bias;   // [q + 2 kv, d], [q + 2 kv] or undefined
  at::Tensor o, o_bias;       // [d, q], [d] or undefined
  at::Tensor q_norm, k_norm;  // [head_dim], or of all heads [q] and [kv], or undefined
  std::int64_t window = 0;    // positions a token attends to, itself among them; 0: all
  bool turns = true;          // whether RoPE turns the heads by their positions
  bool local = false;         // whether by the RoPE of local layers
};

// x is [nodes, sequences, tokens, d], and so are the results. They are x + o(attention(norm(x))),
// or x + norm(o(attention(x))) if the weights have a norm of the output. Several threads may call
// its functions at once.
class LlamaAttention {
 public:
  LlamaAttention(const LlamaConfig& config, const at::Device& device);  // config outlives it

  // Attention over whole sequences, with all nodes as one batch. `givens`: what branching() made of
  // the batch.
  at::Tensor attend(const LlamaAttentionWeights& weights, const at::Tensor& x,
                    const Givens& givens = {});
  // Which tokens of a batch are a sequence, if they branch (Batch::sequences); else nothing.
  static Givens branching(const Batch& batch);

  // Attention of the next tokens of some sequences: x [1, 1, rows, d], run after run. The caches of
  // the layer are as kv_cache_fold.h has them.
  at::Tensor attend_cached(const LlamaAttentionWeights& weights, const at::Tensor& x,
                           std::size_t layer, std::span<const Run> runs);

 private:
  std::pair<at::Tensor, at::Tensor> rotary(bool local, std::int64_t first, std::int64_t tokens,
                                           std::int64_t length, at::ScalarType dtype);
  at::Tensor rotate(const LlamaAttentionWeights& weights, const at::Tensor& x, std::int64_t first,
                    std::int64_t length);
  at::Tensor project_in(const LlamaAttentionWeights& weights, const at::Tensor& x) const;
  at::Tensor project_out(const LlamaAttentionWeights& weights, const at::Tensor& x,
                         const at::Tensor& heads) const;
  at::Tensor mix_branches(const LlamaAttentionWeights& weights, const at::Tensor& qkv,
                          std::int64_t nodes, const Givens& givens);
  at::Tensor mix(const LlamaAttentionWeights& weights, const at::Tensor& qkv, std::int64_t length,
                 at::Tensor* rotated);
  at::Tensor mix_by_kernel(const LlamaAttentionWeights& weights, const at::Tensor& qkv,
                           std::int64_t length);
  at::Tensor norm_heads(const LlamaAttentionWeights& weights, const at::Tensor& qkv) const;
  at::Tensor mix_run(const LlamaAttentionWeights& weights, const at::Tensor& qkv, const Run& run,
                     LayerCache& cache);
  at::Tensor mix_cached(const at::Tensor& queries, const Run& run, std::int64_t window,
                        const LayerCache& cache) const;
  bool takes_kernel(const at::Tensor& qkv, std::span<const Run> runs) const;
  at::Tensor mix_few(const LlamaAttentionWeights& weights, const at::Tensor& qkv, std::size_t layer,
                     std::span<const Run> runs);
  bool has_own_angles(bool local) const;
  std::int64_t turning_length(bool local, std::int64_t length) const;
  std::pair<at::Tensor, at::Tensor> rotary_of_rows(const LlamaAttentionWeights& weights,
                                                   const at::TensorOptions& options,
                                                   std::size_t layer, std::span<const Run> runs);
  void rotate_rows(const LlamaAttentionWeights& weights, const at::Tensor& rows, std::size_t layer,
                   std::span<const Run> runs);

  const LlamaConfig& config_;
  at::Device device_;

  struct Rotary {
    std::int64_t length = 0;  // that the frequencies are of
    at::Tensor frequencies;   // [rotary_dim / 2]
    at::Tensor cos, sin;      // of all positions asked for so far
  };
  Rotary rotary_, local_rotary_;  // the second of local layers, where they have their own
  std::mutex mutex_;              // of these two
};

}  // namespace mnm
