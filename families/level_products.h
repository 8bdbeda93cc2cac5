// What a layer does to a whole level of states on a device: few, large products, with the CUDA
// kernels between them. Without gradients. On CPU tensors it does the same with the host's version
// of the kernels, which is how it is tested. On the CPU a fold itself works in another way, in
// blocks that stay in cache.
//
// Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "fold/fold.h"
#include "kernels/activation.h"

namespace mnm {

// down(act(in(x)) * up(x)) or down(act(in(x) * up(x))). If `up` is undefined it is the FFN without
// a gate, down(act(in(x))).
struct Ffn {
  at::Tensor in, up, down;                 // [w, d], [w, d] or undefined, [d, w]
  at::Tensor in_bias, up_bias, down_bias;  // [w], [w], [d] or undefined
  Act act = Act::kSilu;
  bool of_product = false;  // act(in(x) * up(x))
};

// x and its norm are [parents, rows, d], contiguous; the result is [children, rows, d]. A child is
// its parent's x plus the FFN, at the child's width, of that x's norm.
//
// 1. The products of `in` and `up` are taken at the widest child, followed by one activation.
// 2. The segments of `down` are added up. Each partial sum is a finished child.
//
// Neighbouring parents whose children have the same widths share their products.
at::Tensor nested_ffn(const Ffn& ffn, const at::Tensor& x, const at::Tensor& normed,
                      const Children& children);

// x + rows w^T: [n, d] of x [n, d], rows [n, k], w [d, k].
at::Tensor add_product(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& w);

// Turns the heads of x [batch, tokens, heads, head_dim] in place, by cosines and sines [tokens,
// head_dim / 2]. Tokens lie at equal distances, and the elements of a token lie beside each other.
void rotate_in_place(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines);

}  // namespace mnm
