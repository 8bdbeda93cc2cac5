// Rows of a Mamba-2 layer between its two projections, by the CPU kernels: f32, one group, without
// gradients. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "families/mamba2/config.h"
#include "model/slice_plan.h"
#include "model/tensor_table.h"

namespace mnm {

// How the tensor table cuts the two tensors of a layer that keep several ranges. Their biases are
// cut in the same way.
struct Mamba2Cut {
  TensorSpec in_proj, conv;
};

// The norm before a block, or the last one: RMSNorm, or LayerNorm where it has a bias.
struct BlockNorm {
  at::Tensor weight, bias;  // [d], [d] or undefined
  double epsilon = 0;

  at::Tensor operator()(const at::Tensor& x) const;  // of [.., d], in the type of the weight
};

struct Mamba2Layer {
  const Mamba2Cut* cut = nullptr;
  BlockNorm norm;
  at::Tensor in_proj, in_bias;    // [z inner | x inner | B | C | dt, d], bias or undefined
  at::Tensor conv;                // [taps, x inner | B | C]
  at::Tensor conv_bias;           // [x inner | B | C] or undefined
  at::Tensor dt_bias, a, d;       // [heads]; a = -exp(A_log)
  at::Tensor gated_norm;          // [inner]
  at::Tensor out_proj, out_bias;  // [d, inner], [d] or undefined
};

// What is passed on from the tokens of a sequence to later ones. It has room for some channels of x
// and their heads.
struct BlockState {
  at::Tensor before;  // [taps - 1, B | C | x]: the convolution's last inputs
  at::Tensor scan;    // [heads, state, head_dim]
};

// Work space for some rows, laid out as in_proj gives them at one width, the widest. Each row may
// be computed at that width or a narrower one, whose z, x and dt are prefixes of the widest's. What
// is done to rows [first, first + n), which are tokens of one sequence, at `inner` channels:
//
//   xbc = silu(conv(x | B | C))
//   x = scan(xbc, dt), head by head
//   x = x silu(z) norm, squares[i] = the sum of (x silu(z))^2 up to channel ends[i]
class MixerBlock {
 public:
  // config and layer outlive it. ends: how many of them there are at most.
  MixerBlock(const Mamba2Config& config, const Mamba2Layer& layer, Width widest, std::int64_t rows,
             std::int64_t ends, const at::TensorOptions& options);

  // [n, columns]: [z inner | x inner | B | C | dt], at the widest. The caller fills them.
  at::Tensor rows(std::int64_t first, std::int64_t n) const { return rows_.narrow(0, first, n); }
  // [n, inner]: what out_proj reads, but for the division by the root of the mean square.
  at::Tensor mixed(std::int64_t first, std::int64_t n) const {
    return rows(first, n).narrow(1, inner_, inner_);
  }
  at::Tensor squares(std::int64_t first, std::int64_t n) const {
    return squares_.narrow(0, first, n);  // [n, ends]
  }

  // The state before the first token, for one sequence: zeros.
  BlockState start(std::int64_t inner) const;

  // ends: ascending, the last one is `inner`. The state has room for `inner` channels or more; it
  // is read and updated in place. Undefined, it starts as zeros and is not kept.
  void mix(std::int64_t first, std::int64_t n, std::span<const std::int64_t> ends,
           const BlockState& state) const;

 private:
  void convolve(std::int64_t first, std::int64_t n, std::int64_t inner,
                const at::Tensor& before) const;
  void scan_heads(std::int64_t first, std::int64_t n, std::int64_t inner,
                  const at::Tensor& scan) const;
  void gate(std::int64_t first, std::int64_t n, std::span<const std::int64_t> ends) const;

  const Mamba2Config& config_;
  const Mamba2Layer& layer_;
  const std::int64_t inner_;            // channels at the widest
  const std::int64_t mixed_, columns_;  // of x, B and C; of a row
  const std::int64_t kept_;             // of B and C, which every width keeps
  at::Tensor rows_, xbc_;               // [rows, columns], [rows, mixed]
  at::Tensor squares_;                  // [rows, ends]
};

}  // namespace mnm
