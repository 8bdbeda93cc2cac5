#include "kernels/causal_conv.h"

#include "kernels/vector.h"

namespace mnm {
namespace {

constexpr std::int64_t kBlock = 64;  // channels at once: their sums stay in registers and L1

MNM_INLINE float sigmoid(float x) {
  const float e = exp_of(x < 0 ? x : -x);  // neither branch overflows
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

// sum[c] for channels [c0, c0 + n) of token t.
MNM_INLINE void convolve(const ConvShape& s, const float* x, const float* before,
                         const float* weight, std::int64_t weight_stride, const float* bias,
                         std::int64_t t, std::int64_t c0, std::int64_t n, float* __restrict sum) {
  for (std::int64_t c = 0; c < n; ++c) sum[c] = bias ? bias[c0 + c] : 0;
  for (std::int64_t k = 0; k < s.taps; ++k) {
    const std::int64_t at = t - s.taps + 1 + k;
    if (at < 0 && !before) continue;
    const float* const row =
        at < 0 ? before + (at + s.taps - 1) * s.before_stride + c0 : x + at * s.stride + c0;
    const float* const w = weight + k * weight_stride + c0;
    for (std::int64_t c = 0; c < n; ++c) sum[c] += w[c] * row[c];
  }
}

MNM_INLINE void causal_conv_silu_body(const ConvShape& s, const float* x, const float* before,
                                      const float* weight, std::int64_t weight_stride,
                                      const float* bias, float* out) {
  float sum[kBlock];
  for (std::int64_t c0 = 0; c0 < s.channels; c0 += kBlock) {
    const std::int64_t n = s.channels - c0 < kBlock ? s.channels - c0 : kBlock;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      convolve(s, x, before, weight, weight_stride, bias, t, c0, n, sum);
      float* const to = out + t * s.out_stride + c0;
      for (std::int64_t c = 0; c < n; ++c) to[c] = sum[c] * sigmoid(sum[c]);
    }
  }
}

MNM_INLINE void causal_conv_silu_backward_body(const ConvShape& s, const float* x,
                                               const float* weight, std::int64_t weight_stride,
                                               const float* bias, float* dy, float* dx,
                                               float* dweight, float* dbias) {
  float sum[kBlock];
  for (std::int64_t c0 = 0; c0 < s.channels; c0 += kBlock) {
    const std::int64_t n = s.channels - c0 < kBlock ? s.channels - c0 : kBlock;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      convolve(s, x, nullptr, weight, weight_stride, bias, t, c0, n, sum);
      float* const g = dy + t * s.out_stride + c0;
      for (std::int64_t c = 0; c < n; ++c) {
        const float share = sigmoid(sum[c]);
        g[c] *= share * (1 + sum[c] * (1 - share));
      }
      if (dbias) {
        for (std::int64_t c = 0; c < n; ++c) dbias[c0 + c] += g[c];
      }
      for (std::int64_t k = 0; k < s.taps; ++k) {
        const std::int64_t at = t - s.taps + 1 + k;
        if (at < 0) continue;
        const float* const row = x + at * s.stride + c0;
        float* const dw = dweight + k * s.channels + c0;
        for (std::int64_t c = 0; c < n; ++c) dw[c] += g[c] * row[c];
      }
    }
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t c = 0; c < n; ++c) sum[c] = 0;
      for (std::int64_t k = 0; k < s.taps; ++k) {
        const std::int64_t at = t + s.taps - 1 - k;  // the output that reads x[t] by tap k
        if (at >= s.tokens) continue;
        const float* const g = dy + at * s.out_stride + c0;
        const float* const w = weight + k * weight_stride + c0;
        for (std::int64_t c = 0; c < n; ++c) sum[c] += w[c] * g[c];
      }
      float* const to = dx + t * s.stride + c0;
      for (std::int64_t c = 0; c < n; ++c) to[c] = sum[c];
    }
  }
}

}  // namespace

MNM_KERNEL(causal_conv_silu,
           (const ConvShape& shape, const float* x, const float* before, const float* weight,
            std::int64_t weight_stride, const float* bias, float* out),
           (shape, x, before, weight, weight_stride, bias, out))

MNM_KERNEL(causal_conv_silu_backward,
           (const ConvShape& shape, const float* x, const float* weight, std::int64_t weight_stride,
            const float* bias, float* dy, float* dx, float* dweight, float* dbias),
           (shape, x, weight, weight_stride, bias, dy, dx, dweight, dbias))

}  // namespace mnm
