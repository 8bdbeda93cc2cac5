// Attention of a Llama layer, for whole sequences or for the next tokens of one (with a KV cache).
// Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "families/llama/llama_config.h"
#include "fold/fold.h"

namespace mnm {

struct LlamaAttentionWeights {
  at::Tensor norm;           // [d]
  at::Tensor qkv, qkv_bias;  // [q + 2 kv, d], [q + 2 kv] or undefined
  at::Tensor o, o_bias;      // [d, q], [d] or undefined
};

// x is [nodes, sequences, tokens, d], and so are the results: x + o(attention(norm(x))). Several
// threads may call its functions at once.
class LlamaAttention {
 public:
  LlamaAttention(const LlamaConfig& config, const at::Device& device);  // config outlives it

  // Attention over whole sequences, with all nodes as one batch.
  at::Tensor attend(const LlamaAttentionWeights& weights, const at::Tensor& x);

  // Attention of one node whose first token is at `position`. The cache holds rotated keys, and
  // values, both [sequences, kv heads, room for tokens, head_dim]. The first `position` places of
  // the room are used.
  at::Tensor attend_cached(const LlamaAttentionWeights& weights, const at::Tensor& x,
                           std::int64_t position, LayerCache& cache);

 private:
  std::pair<at::Tensor, at::Tensor> rotary(std::int64_t first, std::int64_t tokens,
                                           at::ScalarType dtype);
  at::Tensor rotate(const at::Tensor& x, std::int64_t first);
  at::Tensor project_in(const LlamaAttentionWeights& weights, const at::Tensor& x) const;
  at::Tensor project_out(const LlamaAttentionWeights& weights, const at::Tensor& x,
                         const at::Tensor& heads) const;
  at::Tensor mix(const at::Tensor& qkv, at::Tensor* rotated);
  at::Tensor mix_by_kernel(const at::Tensor& qkv);
  at::Tensor mix_cached(const at::Tensor& queries, std::int64_t position,
                        const LayerCache& cache) const;
  void make_room(LayerCache& cache, std::vector<std::int64_t> shape, std::int64_t used,
                 const at::TensorOptions& options) const;

  const LlamaConfig& config_;
  at::Tensor frequencies_;  // [head_dim / 2]
  at::Tensor cos_, sin_;    // of all positions asked for so far
  std::mutex mutex_;        // of those two
};

}  // namespace mnm
