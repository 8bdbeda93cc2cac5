// Depthwise causal convolution over a sequence's rows, with silu: what Mamba-2 does to x, B and C
// before its scan.
#pragma once

#include <cstdint>

namespace mnm {

struct ConvShape {
  std::int64_t tokens = 0;
  std::int64_t channels = 0;
  std::int64_t taps = 0;           // at least 1, at most 16
  std::int64_t stride = 0;         // floats from one token's input to the next one's
  std::int64_t before_stride = 0;  // the same of the tokens before the first one
  std::int64_t out_stride = 0;     // the same of the output
};

// out[t, c] = silu(bias[c] + sum_k weight[k, c] x[t - taps + 1 + k, c]), where what lies before the
// first token is `before` [taps - 1, before_stride], or zeros if that is nullptr. weight is
// [taps, weight_stride]: channels of one tap are neighbours. bias may be nullptr. exp within 2
// units in the last place.
void causal_conv_silu(const ConvShape& shape, const float* x, const float* before,
                      const float* weight, std::int64_t weight_stride, const float* bias,
                      float* out);

// Gradients of it, with zeros before the first token: adds to dweight [taps, channels] and dbias
// [channels] (may be nullptr), sets dx (with x's stride). dy [tokens, out_stride] becomes the
// gradient of the convolution's own output.
void causal_conv_silu_backward(const ConvShape& shape, const float* x, const float* weight,
                               std::int64_t weight_stride, const float* bias, float* dy, float* dx,
                               float* dweight, float* dbias);

}  // namespace mnm
