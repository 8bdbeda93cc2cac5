// Products of rows with a model's weights, and the type that they are computed in. Compiled only
// into the engine.
//
// LibTorch multiplies a 16-bit type much more slowly than f32 on a processor that has no
// instructions for it. On such a processor the states of a fold are in f32, and so are its weights
// except for matrices. A product converts the matrix to f32, one block at a time. So the large
// tensors stay in 16 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace mnm {

// The type that a run on a device computes in if its weights are held in `stored`. Only this
// function decides it. It differs from `stored` only on the CPU.
at::ScalarType arithmetic_type(const at::Device& device, at::ScalarType stored);

// A tensor in the type of the arithmetic. It is the tensor itself if the types agree.
at::Tensor in_arithmetic_type(const at::Tensor& stored);

// Work space of the products of one thread, if the two types differ.
constexpr std::int64_t kWidenedElements = 1 << 20;  // 95 % of f32's speed, with 1,024 rows
constexpr std::uint64_t kWidenedBytes = 4 * kWidenedElements;

// x [n, k], in the arithmetic type of w [m, k] -> x w^T [n, m], plus `bias` [m] where it is
// defined.
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias = {});

// The same, written to `out`. The elements of a row of `out` lie beside each other. Without
// gradients.
void product_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& w);

// out = sum + x w^T. `sum` is [n, m] or [m], and may be `out`. Without gradients.
void add_product_into(const at::Tensor& out, const at::Tensor& sum, const at::Tensor& x,
                      const at::Tensor& w);

}  // namespace mnm
