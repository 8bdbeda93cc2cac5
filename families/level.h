// What a layer does to a whole level of states on a device, in few, large products and the CUDA
// kernels between them. Without gradients. On CPU tensors the same, by the host's half of the
// kernels: so it is tested; a fold's own way on the CPU is another, in blocks that stay in cache.
//
// Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "fold/fold.h"
#include "kernels/ffn_activation.h"

namespace mnm {

// down(act(in(x)) * up(x)) or down(act(in(x) * up(x))), and, where `up` is undefined, the FFN that
// is not gated, down(act(in(x))).
struct Ffn {
  at::Tensor in, up, down;                 // [w, d], [w, d] or undefined, [d, w]
  at::Tensor in_bias, up_bias, down_bias;  // [w], [w], [d] or undefined
  Act act = Act::kSilu;
  bool of_product = false;  // act(in(x) * up(x))
};

// x and its norm are [parents, rows, d], contiguous -> [children, rows, d]: a child is its parent's
// x plus the FFN, at the child's width, of that x's norm. The products of `in` and `up` at the
// widest, one activation, and the segments of `down` added up, each partial sum a finished child;
// neighbouring parents whose children have the same widths share their products.
at::Tensor nested_ffn(const Ffn& ffn, const at::Tensor& x, const at::Tensor& normed,
                      const Children& children);

// x + rows w^T: [n, d] of x [n, d], rows [n, k], w [d, k].
at::Tensor add_product(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& w);

// Turns the heads of x [batch, tokens, heads, head_dim] in place, by cosines and sines [tokens,
// head_dim / 2]. Tokens lie at one distance throughout, their elements beside each other.
void rotate_in_place(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines);

}  // namespace mnm
