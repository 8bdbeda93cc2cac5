// Products of rows with a model's weights, and what they are computed in. Compiled only into the
// engine.
//
// A processor without instructions for a 16-bit type multiplies it in LibTorch a hundred times more
// slowly than f32. There a fold's states, and its weights but for matrices, are f32, and a product
// widens the matrix, a block at a time: what is large stays in 16 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace mnm {

// What a run on a device computes in, whose weights are held in `stored`: the one place that
// decides. Another type only on the CPU.
at::ScalarType arithmetic_type(const at::Device& device, at::ScalarType stored);

// A tensor of a model in what is computed in: itself where the types agree.
at::Tensor in_arithmetic_type(const at::Tensor& stored);

// Work space of one thread's products where the two types differ.
constexpr std::int64_t kWidenedElements = 1 << 20;  // 95 % of f32's speed, with 1,024 rows
constexpr std::uint64_t kWidenedBytes = 4 * kWidenedElements;

// x [n, k], in the arithmetic type of w [m, k] -> x w^T [n, m], plus `bias` [m] where it is
// defined.
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias = {});

// The same into `out`, whose rows' elements lie beside each other. Without gradients.
void product_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& w);

// out = sum + x w^T, of a sum [n, m] or [m] that may be `out`. Without gradients.
void add_product_into(const at::Tensor& out, const at::Tensor& sum, const at::Tensor& x,
                      const at::Tensor& w);

}  // namespace mnm
