// RMSNorm over the last dimension, as transformers computes it. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

namespace mnm {

// x [.., d] and weight [d]: x / sqrt(mean(x^2) + epsilon) * weight, in the type of x. If x has 16
// bits and the weight is f32, all is computed in f32 and rounded once. The CPU kernel computes it
// if x is contiguous, both are f32 and no gradient is needed; else LibTorch's operator does.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// What a norm multiplies by that has stored its weight less `offset`: the sum in f32 at least, as
// transformers' Gemma takes it. A weight of 16 bits near 0 would lose its last bits beside a 1.
at::Tensor offset_weight(const at::Tensor& weight, double offset);

}  // namespace mnm
