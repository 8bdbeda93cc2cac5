// Attention of a Gemma 3n layer, of whole sequences or of the next tokens of one. Queries and keys
// are normed by head and turned; values are normed without a weight; scores are not scaled.
// Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "families/gemma3n/config.h"
#include "fold/fold.h"
#include "model/slice_plan.h"

namespace mnm {

struct Gemma3nAttentionWeights {
  at::Tensor q, k, v, o;  // k and v are undefined where another layer's are read
  at::Tensor q_bias, k_bias, v_bias, o_bias;  // or undefined
  at::Tensor q_norm, k_norm;                  // [head_dim]
};

struct KeysValues {
  at::Tensor keys, values;  // [batch, tokens, kv heads, head_dim]; keys are turned
};

// Cosines and sines of one layer type, made once. Several threads may ask at once.
class Gemma3nRotary {
 public:
  Gemma3nRotary(double theta, std::int64_t head_dim) : theta_(theta), head_dim_(head_dim) {}
  // x [batch, tokens, heads, head_dim], whose first token is at `position`, turned.
  at::Tensor turn(const at::Tensor& x, std::int64_t position);

 private:
  std::pair<at::Tensor, at::Tensor> table(const at::Tensor& like, std::int64_t end);

  double theta_;
  std::int64_t head_dim_;
  at::Tensor cos_, sin_;  // [positions, 1, head_dim / 2]
  std::mutex mutex_;      // of both
};

// Queries, and the layer's own keys and values if it has any: [rows, heads, head_dim], normed and
// not turned.
struct Gemma3nHeads {
  at::Tensor q, k, v;
};

class Gemma3nAttention {
 public:
  explicit Gemma3nAttention(const Gemma3nConfig& config);  // which outlives it

  // normed: [rows, d].
  Gemma3nHeads heads(const Gemma3nAttentionWeights& weights, const at::Tensor& normed) const;

  // Keys [batch, tokens, kv heads, head_dim], whose first token is at `position`, turned.
  at::Tensor turned_keys(std::size_t layer, const at::Tensor& keys, std::int64_t position) {
    return rotary_of(layer).turn(keys, position);
  }

  // queries [batch, tokens, heads, head_dim], whose first token is at `position`, not turned ->
  // [batch * tokens, q]. `seen` holds all positions from the sequence's start to the last of these
  // tokens. Those of `skipped`, before `position`, hold nothing.
  at::Tensor attend(std::size_t layer, const at::Tensor& queries, const KeysValues& seen,
                    std::int64_t position, const std::vector<Range>& skipped = {});

 private:
  Gemma3nRotary& rotary_of(std::size_t layer) { return config_.sliding[layer] ? sliding_ : full_; }

  const Gemma3nConfig& config_;
  Gemma3nRotary full_, sliding_;
};

// The keys or values that nodes hold, [sequences, tokens, kv heads, head_dim] each, for one call of
// attention: [nodes * sequences, ..]. They are the ancestor's own, and no copy, where all nodes
// have one ancestor and there is one node or one sequence. A walk with enough sequences takes one
// node at a time. Other nodes get copies, for this call alone: calls for each node or sequence in
// place take 1.05 to 1.12 times as long, since their results must be put together, and these have
// twice the elements of keys and values. The view takes 0.86 to 1.01 times as long as copies do
// (E4B's heads, 1,024 rows, one thread of a shared AMD EPYC: bench/held_keys.py).
at::Tensor for_nodes(const Held& held);

// Adds the keys and values of a run to its cache of a layer, whose tensors are keys and values
// [sequences, room, kv heads, head_dim]. Room grows by doubling.
void keep(LayerCache& cache, const KeysValues& now, std::int64_t position);
// The first `tokens` that a cache holds.
KeysValues kept(const LayerCache& cache, std::int64_t tokens);

}  // namespace mnm
