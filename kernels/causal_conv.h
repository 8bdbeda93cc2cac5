// Depthwise causal convolution over the rows of a sequence, with silu. Mamba-2 applies it to x, B
// and C before its scan.
#pragma once

#include <cstdint>

namespace mnm {

struct ConvShape {
  std::int64_t tokens = 0;
  std::int64_t channels = 0;
  std::int64_t taps = 0;           // at least 1, at most 16
  std::int64_t stride = 0;         // floats from one token's input to the next one's
  std::int64_t before_stride = 0;  // the same for the tokens before the first one
  std::int64_t out_stride = 0;     // the same for the output
};

// out[t, c] = silu(bias[c] + sum_k weight[k, c] x[t - taps + 1 + k, c]). The inputs before the
// first token are `before` [taps - 1, before_stride], or zeros if that is nullptr. weight is [taps,
// weight_stride]; the channels of one tap lie beside each other. bias may be nullptr. exp is within
// 2 units in the last place.
void causal_conv_silu(const ConvShape& shape, const float* x, const float* before,
                      const float* weight, std::int64_t weight_stride, const float* bias,
                      float* out);

// Gradients of causal_conv_silu, with zeros before the first token. Adds to dweight [taps,
// channels] and dbias [channels] (may be nullptr). Sets dx (with x's stride). dy [tokens,
// out_stride] becomes the gradient of the convolution's own output.
void causal_conv_silu_backward(const ConvShape& shape, const float* x, const float* weight,
                               std::int64_t weight_stride, const float* bias, float* dy, float* dx,
                               float* dweight, float* dbias);

}  // namespace mnm
