// The nested MLP of a vision transformer: x + fc2(gelu(fc1(norm(x)))). Compiled only into the
// engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "families/removed_means.h"
#include "families/vit/config.h"
#include "fold/fold.h"

namespace mnm {

struct VitMlpWeights {
  at::Tensor norm, norm_bias;  // [d]
  at::Tensor fc1, fc1_bias;    // [w, d], [w]
  at::Tensor fc2, fc2_bias;    // [d, w], [d]
  RemovedMeans removed;        // what fc2_bias gains at each width
};

// x [parents, images, tokens, d] -> [children, images, tokens, d]. The products of fc1 and the
// activation are taken once, at a parent's widest child; the partial sums of fc2 are the children,
// but for what the biases of their widths gain. Neighbouring parents whose children have the same
// widths share their products. With gradients every child is computed alone. `sink`, if there is
// one, gets the activations of the widest child, block by block.
at::Tensor vit_mlp(const VitConfig& config, const VitMlpWeights& weights, const at::Tensor& x,
                   const Children& children, const ChannelSink& sink = {});

}  // namespace mnm
