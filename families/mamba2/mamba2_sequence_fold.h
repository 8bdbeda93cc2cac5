// A Mamba-2 layer by the CPU kernels: f32, one group, without gradients. Compiled only into the
// engine.
#pragma once

#include <ATen/core/Tensor.h>

#include "families/mamba2/mamba2_config.h"
#include "families/mamba2/mamba2_mixer_fold.h"
#include "fold/fold.h"
#include "model/tensor_table.h"

namespace mnm {

// How the tensor table cuts the two tensors of a layer that keep several ranges. Their biases are
// cut in the same way.
struct Mamba2Cut {
  TensorSpec in_proj, conv;
};

struct Mamba2Layer {
  const Mamba2Cut* cut = nullptr;
  at::Tensor norm;                // [d]
  at::Tensor in_proj, in_bias;    // [z inner | x inner | B | C | dt, d], bias or undefined
  at::Tensor conv;                // [taps, x inner | B | C]
  at::Tensor conv_bias;           // [x inner | B | C] or undefined
  at::Tensor dt_bias, a, d;       // [heads]; a = -exp(A_log)
  at::Tensor gated_norm;          // [inner]
  at::Tensor out_proj, out_bias;  // [d, inner], [d] or undefined
};

// x [parents, sequences, tokens, d] -> [children, sequences, tokens, d]. All children of a parent
// come from one scan over the widest, sequence by sequence, in blocks of rows that stay in cache.
//
// carried: nullptr, or what is passed on from earlier tokens of these sequences to later ones. Then
// there is one child.
at::Tensor mamba2_by_sequence(const Mamba2Config& config, const Mamba2Layer& layer,
                              const at::Tensor& x, const Children& children, MixerState* carried);

}  // namespace mnm
