#include "kernels/gated_norm.h"

#include <cmath>

#include "kernels/vector.h"

namespace mnm {
namespace {

constexpr std::int64_t kSums = 16;  // partial sums, as the loops below are unrolled

MNM_INLINE float sigmoid(float x) {
  const float e = exp_of(x < 0 ? x : -x);  // neither branch overflows
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

// What term(i) adds up to for i in [begin, end).
template <typename Term>
MNM_INLINE float sum_of(std::int64_t begin, std::int64_t end, const Term& term) {
  float sums[kSums] = {};
  std::int64_t i = begin;
  for (; i + kSums <= end; i += kSums) {
    for (std::int64_t j = 0; j < kSums; ++j) sums[j] += term(i + j);
  }
  for (std::int64_t j = 0; i + j < end; ++j) sums[j] += term(i + j);
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

MNM_INLINE void gate_rows_body(const GatedShape& s, const float* y, const float* z,
                               const float* weight, std::span<const std::int64_t> widths,
                               float* out, float* squares) {
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    for (std::int64_t i = 0; i < s.channels; ++i) out[i] = y[i] * (z[i] * sigmoid(z[i]));
    float sum = 0;
    std::int64_t begin = 0;
    for (const std::int64_t end : widths) {
      sum += sum_of(begin, end, [&](std::int64_t i) { return out[i] * out[i]; });
      *squares++ = sum;
      begin = end;
    }
    for (std::int64_t i = 0; i < s.channels; ++i) out[i] *= weight[i];
    y += s.y_stride, z += s.z_stride, out += s.out_stride;
  }
}

MNM_INLINE void gated_norm_body(const GatedShape& s, const float* y, const float* z,
                                const float* weight, float epsilon, float* out) {
  const auto n = static_cast<float>(s.channels);
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    for (std::int64_t i = 0; i < s.channels; ++i) out[i] = y[i] * (z[i] * sigmoid(z[i]));
    const float square = sum_of(0, s.channels, [&](std::int64_t i) { return out[i] * out[i]; });
    const float scale = 1 / std::sqrt(square / n + epsilon);
    for (std::int64_t i = 0; i < s.channels; ++i) out[i] *= scale * weight[i];
    y += s.y_stride, z += s.z_stride, out += s.out_stride;
  }
}

MNM_INLINE void gated_norm_backward_body(const GatedShape& s, const float* y, const float* z,
                                         const float* weight, float epsilon, const float* dout,
                                         float* __restrict dy, float* __restrict dz,
                                         float* __restrict dweight) {
  const auto n = static_cast<float>(s.channels);
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    // g and silu(z), in the places of what they become.
    for (std::int64_t i = 0; i < s.channels; ++i) {
      dz[i] = z[i] * sigmoid(z[i]);
      dy[i] = y[i] * dz[i];
    }
    const float square = sum_of(0, s.channels, [&](std::int64_t i) { return dy[i] * dy[i]; });
    const float along =
        sum_of(0, s.channels, [&](std::int64_t i) { return dy[i] * (weight[i] * dout[i]); });
    const float scale = 1 / std::sqrt(square / n + epsilon);
    const float back = scale * scale * (along / n);
    for (std::int64_t i = 0; i < s.channels; ++i) {
      const float g = dy[i], gate = dz[i], share = sigmoid(z[i]);
      const float dg = scale * (weight[i] * dout[i] - g * back);
      dweight[i] += g * scale * dout[i];
      dy[i] = dg * gate;
      dz[i] = dg * y[i] * (share + gate * (1 - share));
    }
    y += s.y_stride, z += s.z_stride, dout += s.out_stride, dy += s.y_stride, dz += s.z_stride;
  }
}

}  // namespace

MNM_KERNEL(gate_rows,
           (const GatedShape& shape, const float* y, const float* z, const float* weight,
            std::span<const std::int64_t> widths, float* out, float* squares),
           (shape, y, z, weight, widths, out, squares))

MNM_KERNEL(gated_norm,
           (const GatedShape& shape, const float* y, const float* z, const float* weight,
            float epsilon, float* out),
           (shape, y, z, weight, epsilon, out))

MNM_KERNEL(gated_norm_backward,
           (const GatedShape& shape, const float* y, const float* z, const float* weight,
            float epsilon, const float* dout, float* dy, float* dz, float* dweight),
           (shape, y, z, weight, epsilon, dout, dy, dz, dweight))

}  // namespace mnm
