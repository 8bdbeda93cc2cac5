// Rotary embedding and causal attention of one sequence and one key/value head, from packed rows.
//
// On the CPU, LibTorch's attention computes all keys of a causal block of 512 and drops those that
// lie ahead. That is twice the work for contexts up to 512. This attention stops at the diagonal.
#pragma once

#include <cstdint>

namespace mnm {

struct AttentionShape {
  std::int64_t tokens = 0;
  std::int64_t head_dim = 0;  // a multiple of 16
  std::int64_t group = 1;     // query heads that share the key/value head
  std::int64_t stride = 0;    // floats from a token's q, k and v to the next token's
  std::int64_t out_stride = 0;
};

// Floats of work space that causal_attention needs.
std::int64_t attention_work(const AttentionShape& shape);

// q: the first of `group` query heads of a token, each head_dim floats, adjacent; k, v: its key and
// value. q and k are rotated in place: halves (a, b) of a head become (a cos - b sin,
// b cos + a sin), with cos and sin [tokens, head_dim / 2]. Then
// out[t, h] = sum_s softmax_{s <= t}(q[t, h] . k[s] / sqrt(head_dim)) v[s].
void causal_attention(const AttentionShape& shape, float* q, float* k, const float* v,
                      const float* cos, const float* sin, float* out, float* work);

}  // namespace mnm
