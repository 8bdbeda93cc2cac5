// RMSNorm over the last dimension, as transformers takes it. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

namespace mnm {

// x [.., d] and weight [d]: x / sqrt(mean(x^2) + epsilon) * weight. By the CPU kernel where x is
// contiguous, both are f32 and there is nothing to differentiate; else by LibTorch's operator.
at::Tensor row_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

}  // namespace mnm
