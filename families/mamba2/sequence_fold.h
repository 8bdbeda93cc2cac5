// A Mamba-2 layer by the CPU kernels: f32, one group, without gradients. Compiled only into the
// engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "families/mamba2/block_fold.h"
#include "families/mamba2/config.h"
#include "fold/fold.h"

namespace mnm {

// x [parents, sequences, tokens, d] -> [children, sequences, tokens, d]. All children of a parent
// come from one scan over the widest, sequence by sequence, in blocks of rows that stay in cache.
at::Tensor mamba2_by_sequence(const Mamba2Config& config, const Mamba2Layer& layer,
                              const at::Tensor& x, const Children& children);

}  // namespace mnm
