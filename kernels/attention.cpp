#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/row_sums.h"
#include "kernels/tile.h"

namespace mnm {
namespace {

constexpr std::int64_t kRows = kTileRows;     // query rows at once
constexpr std::int64_t kKeys = kTileColumns;  // keys at once

MNM_INLINE void rotate(float* x, std::int64_t stride, std::int64_t tokens, std::int64_t half,
                       const float* cos, const float* sin) {
  for (std::int64_t t = 0; t < tokens; ++t, x += stride, cos += half, sin += half) {
    for (std::int64_t i = 0; i < half; i += kLanes) {
      Lanes& a = *reinterpret_cast<Lanes*>(x + i);
      Lanes& b = *reinterpret_cast<Lanes*>(x + half + i);
      const Lanes c = *reinterpret_cast<const Lanes*>(cos + i);
      const Lanes s = *reinterpret_cast<const Lanes*>(sin + i);
      const Lanes rotated = a * c - b * s;
      b = b * c + a * s;
      a = rotated;
    }
  }
}

// scores[r, j] = q[r] . k[j] * scale for kRows rows of q and keys [0, keys), keys a multiple of
// kKeys; transposed is k as [head_dim, width].
MNM_INLINE void score(const float* const* q, const float* transposed, std::int64_t width,
                      std::int64_t head_dim, std::int64_t keys, float scale, float* scores) {
  for (std::int64_t j = 0; j < keys; j += kKeys) {
    Lanes sum[kRows][2] = {};
    for (std::int64_t d = 0; d < head_dim; ++d) {
      const Lanes k0 = *reinterpret_cast<const Lanes*>(transposed + d * width + j);
      const Lanes k1 = *reinterpret_cast<const Lanes*>(transposed + d * width + j + kLanes);
#pragma GCC unroll 4
      for (std::int64_t r = 0; r < kRows; ++r) {
        sum[r][0] += q[r][d] * k0;
        sum[r][1] += q[r][d] * k1;
      }
    }
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < kRows; ++r) {
      *reinterpret_cast<Lanes*>(scores + r * width + j) = sum[r][0] * scale;
      *reinterpret_cast<Lanes*>(scores + r * width + j + kLanes) = sum[r][1] * scale;
    }
  }
}

// scores[0, n) become exp(scores - max), [n, keys) zero; returns one over the sum.
MNM_INLINE float weigh(float* scores, std::int64_t n, std::int64_t keys) {
  constexpr std::int64_t kWide = 4 * kLanes;
  for (std::int64_t j = n; j < keys; ++j) scores[j] = -std::numeric_limits<float>::infinity();
  const float max = max_of(scores, keys);
  for (std::int64_t j = 0; j < keys; ++j) scores[j] = exp_of(scores[j] - max);
  for (std::int64_t j = n; j < keys; ++j) scores[j] = 0;  // not the tiny number that exp_of ends at
  float lanes[kWide] = {};
  std::int64_t j = 0;
  for (; j + kWide <= keys; j += kWide) {
    for (std::int64_t i = 0; i < kWide; ++i) lanes[i] += scores[j + i];
  }
  for (std::int64_t i = 0; j + i < keys; ++i) lanes[i] += scores[j + i];
  float sum = 0;
  for (float lane : lanes) sum += lane;
  return 1 / sum;
}

MNM_INLINE void mix(const float* scores, std::int64_t width, const float* v, std::int64_t stride,
                    std::int64_t head_dim, std::int64_t keys, const float* weights,
                    std::int64_t rows, float* out, std::int64_t out_stride) {
  for (std::int64_t c = 0; c < head_dim; c += 2 * kLanes) {
    Lanes sum[kRows][2] = {};
    for (std::int64_t j = 0; j < keys; ++j) {
      const Lanes v0 = *reinterpret_cast<const Lanes*>(v + j * stride + c);
      const Lanes v1 = *reinterpret_cast<const Lanes*>(v + j * stride + c + kLanes);
#pragma GCC unroll 4
      for (std::int64_t r = 0; r < kRows; ++r) {
        sum[r][0] += scores[r * width + j] * v0;
        sum[r][1] += scores[r * width + j] * v1;
      }
    }
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < kRows; ++r) {
      if (r >= rows) continue;
      *reinterpret_cast<Lanes*>(out + r * out_stride + c) = sum[r][0] * weights[r];
      *reinterpret_cast<Lanes*>(out + r * out_stride + c + kLanes) = sum[r][1] * weights[r];
    }
  }
}

MNM_INLINE void causal_attention_body(const AttentionShape& shape, float* q, float* k,
                                      const float* v, const float* cos, const float* sin,
                                      float* out, float* work) {
  const std::int64_t tokens = shape.tokens, head_dim = shape.head_dim, stride = shape.stride;
  const std::int64_t width = padded(tokens), half = head_dim / 2;
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  float* const scores = work;                      // [kRows, width]
  float* const transposed = work + kRows * width;  // [head_dim, width]

  rotate(k, stride, tokens, half, cos, sin);
  for (std::int64_t d = 0; d < head_dim; ++d) {
    for (std::int64_t t = 0; t < tokens; ++t) transposed[d * width + t] = k[t * stride + d];
    for (std::int64_t t = tokens; t < width; ++t) transposed[d * width + t] = 0;
  }
  for (std::int64_t h = 0; h < shape.group; ++h, q += head_dim, out += head_dim) {
    rotate(q, stride, tokens, half, cos, sin);
    for (std::int64_t t = 0; t < tokens; t += kRows) {
      const std::int64_t rows = std::min(kRows, tokens - t), keys = padded(t + rows);
      const float* row[kRows];  // the last ones stand in for rows past the end
      for (std::int64_t r = 0; r < kRows; ++r) row[r] = q + (t + std::min(r, rows - 1)) * stride;
      score(row, transposed, width, head_dim, keys, scale, scores);
      float weights[kRows];
      for (std::int64_t r = 0; r < kRows; ++r) {
        weights[r] = weigh(scores + r * width, t + std::min(r, rows - 1) + 1, keys);
      }
      mix(scores, width, v, stride, head_dim, t + rows, weights, rows, out + t * shape.out_stride,
          shape.out_stride);
    }
  }
}

}  // namespace

std::int64_t attention_work(const AttentionShape& shape) {
  return (kRows + shape.head_dim) * padded(shape.tokens);
}

MNM_KERNEL(causal_attention,
           (const AttentionShape& shape, float* q, float* k, const float* v, const float* cos,
            const float* sin, float* out, float* work),
           (shape, q, k, v, cos, sin, out, work))

}  // namespace mnm
