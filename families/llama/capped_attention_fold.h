// Attention whose scores are capped, as Gemma 2 has it. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace mnm {

// q: [batch, q heads, tokens, head_dim]; k and v: [batch, kv heads, keys, head_dim]. The queries
// are those of the last `tokens` keys, and see these keys and those before, `window` of them at
// most (0: all). -> [batch, q heads, tokens, head_dim]: softmax(cap * tanh(q k / (sqrt(head_dim) *
// cap))) v, with scores and softmax in f32 at least.
//
// No more than kCappedScores scores are held at a time, unless one row of one sequence has more.
at::Tensor capped_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::int64_t window, double cap);

constexpr std::int64_t kCappedScores = 1 << 24;

}  // namespace mnm
