// Mamba-2's gated norm, in two steps so that nested widths share the first one. What depends on the
// width is one sum of squares per token.
#pragma once

#include <cstdint>
#include <span>

namespace mnm {

struct GatedShape {
  std::int64_t tokens = 0;
  std::int64_t channels = 0;
  std::int64_t y_stride = 0;  // floats from one token's y to the next one's
  std::int64_t z_stride = 0;
  std::int64_t out_stride = 0;
};

// The shared step. With g = y silu(z): out[t, i] = g[t, i] weight[i]. For every width k of `widths`
// (ascending, at most `channels`), squares[t, k] = sum of g[t, i]^2 for i < widths[k]. out may be
// y.
void gate_rows(const GatedShape& shape, const float* y, const float* z, const float* weight,
               std::span<const std::int64_t> widths, float* out, float* squares);

// The whole norm: out = g weight / sqrt(mean of g^2 over the channels + epsilon).
void gated_norm(const GatedShape& shape, const float* y, const float* z, const float* weight,
                float epsilon, float* out);

// Gradients of gated_norm from dout (with out's stride). Sets dy and dz (with the strides of y and
// z). Adds to dweight.
void gated_norm_backward(const GatedShape& shape, const float* y, const float* z,
                         const float* weight, float epsilon, const float* dout, float* dy,
                         float* dz, float* dweight);

}  // namespace mnm
