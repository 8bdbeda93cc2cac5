// RMSNorm over the last dimension, as transformers computes it. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

namespace mnm {

// x [.., d] and weight [d]: x / sqrt(mean(x^2) + epsilon) * weight. The CPU kernel computes it if x
// is contiguous, both are f32 and no gradient is needed; else LibTorch's operator does.
at::Tensor row_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

}  // namespace mnm
