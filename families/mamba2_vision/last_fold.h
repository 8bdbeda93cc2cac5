// A Mamba-2 layer whose output is read at the last token alone. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "families/mamba2/block_fold.h"
#include "families/mamba2/config.h"
#include "fold/fold.h"

namespace mnm {

// x [parents, sequences, tokens, d] -> [children, sequences, 1, d]: the same as the last token of
// the whole layer's output. One group; with or without gradients, in any dtype. With s_t the sum of
// the decays' logarithms after token t, and T the last token,
//   y_T = sum_t exp(s_t) dt_t (C_T . B_t) x_t + D x_T
// so x, B and dt are computed for all tokens, z and C for the last one, and no state.
at::Tensor mamba2_last_token(const Mamba2Config& config, const Mamba2Layer& layer,
                             const at::Tensor& x, const Children& children);

}  // namespace mnm
