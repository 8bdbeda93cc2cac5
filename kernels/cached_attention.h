// Causal attention of few tokens over the keys and values that were kept of all tokens before them,
// as in generating. The keys may lie in several places.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/element.h"

namespace mnm {

// Keys and values of the positions [begin, end), [end - begin, head_dim] each, of one head.
struct KeptKeys {
  const void* keys = nullptr;
  const void* values = nullptr;
  std::int64_t begin = 0, end = 0;
};

struct CachedAttention {
  std::int64_t tokens = 0;
  std::int64_t position = 0;       // of the first of them
  std::int64_t group = 1;          // query heads that share the key/value head
  std::int64_t head_dim = 0;       // a multiple of 8
  std::int64_t window = 0;         // positions that a token attends to, itself among them; 0: all
  Element kept = Element::kF32;    // of the keys and values: f32 or bf16
  const float* queries = nullptr;  // [tokens, group, head_dim]; the heads of a token are adjacent
  std::int64_t query_stride = 0;   // floats from token to token
  float* out = nullptr;            // the same shape
  std::int64_t out_stride = 0;
};

// Floats of work space that cached_attention needs.
std::int64_t cached_attention_work(const CachedAttention& attention);

// out[t, h] = sum_s softmax_s(q[t, h] . k[s] / sqrt(head_dim)) v[s], over the positions s <=
// position + t that are kept and within the window, in f32. `kept` is ascending, and each token's
// own position is in it. Keys are read once for all tokens and heads, as they are stored.
void cached_attention(const CachedAttention& attention, std::span<const KeptKeys> kept,
                      float* work);

}  // namespace mnm
