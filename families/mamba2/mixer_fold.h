// What a Mamba-2 block does between its two projections, with LibTorch: convolution, scan and gated
// norm of rows [z | x | B | C | dt]. There are two routes, which must agree: LibTorch's own
// operators, for any dtype and device; and the kernels, for f32 on the CPU, with their gradients.
//
// Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "families/mamba2/config.h"

namespace mnm {

// The parameters of one block at one width. A prefix of a tensor is a view.
struct Mixer {
  std::int64_t inner = 0;     // channels of z and x
  std::int64_t head_dim = 0;  // inner is a multiple of it
  std::int64_t groups = 1;    // that B and C have; the norm's, too
  std::int64_t state = 0;     // of a group's B and C
  double epsilon = 0;
  TimeStepLimit limit;
  at::Tensor conv;       // [taps, inner + 2 groups state]: of x, B and C
  at::Tensor conv_bias;  // [inner + 2 groups state] or undefined
  at::Tensor dt_bias;    // [heads]
  at::Tensor a;          // [heads], negative
  at::Tensor d;          // [heads]
  at::Tensor norm;       // [inner]

  std::int64_t heads() const { return inner / head_dim; }
  std::int64_t mixed() const { return inner + 2 * groups * state; }
  std::int64_t columns() const { return inner + mixed() + heads(); }
};

// What is passed on from one piece of a sequence to the next. Undefined tensors are zeros; f32 or
// f64.
struct MixerState {
  at::Tensor before;  // [sequences, taps - 1, mixed]: the convolution's last inputs
  at::Tensor scan;    // [sequences, heads, state, head_dim]
};

// softplus(biased), limited.
at::Tensor time_steps(const at::Tensor& biased, const TimeStepLimit& limit);

// The scan by the chunked algorithm in LibTorch's operators, without the gate: rows [sequences,
// tokens, columns] -> y [sequences, tokens, inner]. Differentiable, for any dtype and device.
// `state` (may be nullptr) is read and updated.
at::Tensor scan_rows(const Mixer& mixer, const at::Tensor& rows, MixerState* state);

// The gated norm of y, by the same operators: [sequences, tokens, inner].
at::Tensor normed_rows(const Mixer& mixer, const at::Tensor& y, const at::Tensor& z);

// Scan and norm by the kernels, with gradients: f32 on the CPU, whole sequences, one group.
at::Tensor mix_with_kernels(const Mixer& mixer, const at::Tensor& rows);

}  // namespace mnm
