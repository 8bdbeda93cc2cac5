#include "families/mamba2/block_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "families/mamba2/mixer_fold.h"
#include "families/rms_norm.h"
#include "kernels/causal_conv.h"
#include "kernels/gated_norm.h"
#include "kernels/mamba2_scan.h"

namespace mnm {
namespace {

// before [taps - 1, channels] becomes the last rows of it followed by x's.
void keep_last(const at::Tensor& x, const at::Tensor& before) {
  const std::int64_t room = before.size(0), n = x.size(0);
  if (room == 0) return;
  if (n < room) before.narrow(0, 0, room - n).copy_(before.narrow(0, n, room - n).clone());
  const std::int64_t taken = std::min(n, room);
  before.narrow(0, room - taken, taken).copy_(x.narrow(0, n - taken, taken));
}

}  // namespace

at::Tensor BlockNorm::operator()(const at::Tensor& x) const {
  const at::Tensor in = x.to(weight.scalar_type());
  if (!bias.defined()) return rms_norm(in, weight, epsilon);
  return at::layer_norm(in, weight.sizes(), weight, bias, epsilon);
}

MixerBlock::MixerBlock(const Mamba2Config& config, const Mamba2Layer& layer, Width widest,
                       std::int64_t rows, std::int64_t ends, const at::TensorOptions& options)
    : config_(config),
      layer_(layer),
      inner_(config.inner(widest)),
      mixed_(inner_ + 2 * config.state_size),
      columns_(inner_ + mixed_ + config.heads(widest)),
      kept_(2 * config.state_size) {
  rows_ = at::empty({rows, columns_}, options);
  xbc_ = at::empty({rows, mixed_}, options);
  squares_ = at::empty({rows, ends}, options);
}

BlockState MixerBlock::start(std::int64_t inner) const {
  return {
      at::zeros({config_.conv_kernel - 1, kept_ + inner}, rows_.options()),
      at::zeros({inner / config_.head_dim, config_.state_size, config_.head_dim}, rows_.options())};
}

void MixerBlock::mix(std::int64_t first, std::int64_t n, std::span<const std::int64_t> ends,
                     const BlockState& state) const {
  convolve(first, n, ends.back(), state.before);
  scan_heads(first, n, ends.back(), state.scan);
  gate(first, n, ends);
}

// The channels of x, then those of B and C.
void MixerBlock::convolve(std::int64_t first, std::int64_t n, std::int64_t inner,
                          const at::Tensor& before) const {
  const float* const row = rows_.const_data_ptr<float>() + first * columns_ + inner_;
  const float* const weight = layer_.conv.const_data_ptr<float>();
  const float* const bias =
      layer_.conv_bias.defined() ? layer_.conv_bias.const_data_ptr<float>() : nullptr;
  const float* const last = before.defined() ? before.const_data_ptr<float>() : nullptr;
  const std::int64_t full = layer_.conv.size(1) - kept_;  // channels of x in the checkpoint
  struct Part {
    std::int64_t channels, column, weight, before;  // where each begins
  };
  for (const Part& part : {Part{inner, 0, 0, kept_}, Part{kept_, inner_, full, 0}}) {
    causal_conv_silu({.tokens = n,
                      .channels = part.channels,
                      .taps = config_.conv_kernel,
                      .stride = columns_,
                      .before_stride = before.defined() ? before.stride(0) : 0,
                      .out_stride = mixed_},
                     row + part.column, last ? last + part.before : nullptr, weight + part.weight,
                     layer_.conv.size(1), bias ? bias + part.weight : nullptr,
                     xbc_.data_ptr<float>() + first * mixed_ + part.column);
    if (before.defined()) {
      keep_last(rows(first, n).narrow(1, inner_ + part.column, part.channels),
                before.narrow(1, part.before, part.channels));
    }
  }
}

// From xbc into the x of the rows.
void MixerBlock::scan_heads(std::int64_t first, std::int64_t n, std::int64_t inner,
                            const at::Tensor& scan) const {
  const std::int64_t state = config_.state_size, dim = config_.head_dim, heads = inner / dim;
  const at::Tensor dt = time_steps(rows(first, n).narrow(1, inner_ + mixed_, heads) +
                                       layer_.dt_bias.narrow(0, 0, heads),
                                   config_.time_step_limit)
                            .contiguous();
  const float* const steps = dt.const_data_ptr<float>();
  const float* const a = layer_.a.const_data_ptr<float>();
  const float* const d = layer_.d.const_data_ptr<float>();
  const float* const xbc = xbc_.const_data_ptr<float>() + first * mixed_;
  float* const carried = scan.defined() ? scan.data_ptr<float>() : nullptr;
  float* const to = rows_.data_ptr<float>() + first * columns_ + inner_;
  // Waking a thread takes longer than few tokens do.
  const std::int64_t grain = n < 64 ? heads : std::max<std::int64_t>(8, (heads + 1) / 2);
  at::parallel_for(0, heads, grain, [&](std::int64_t head, std::int64_t end) {
    const SsdShape shape = {.tokens = n,
                            .heads = end - head,
                            .head_dim = dim,
                            .state = state,
                            .x_stride = mixed_,
                            .dt_stride = heads,
                            .bc_stride = mixed_,
                            .y_stride = columns_,
                            .chunk = std::min<std::int64_t>(n, state >= 64 ? 64 : 32)};
    std::vector<float> work(static_cast<std::size_t>(ssd_work(shape)));
    mamba2_scan(
        shape,
        {xbc + head * dim, steps + head, a + head, xbc + inner_, xbc + inner_ + state, d + head},
        carried ? carried + head * dim * state : nullptr, to + head * dim, work.data());
  });
}

void MixerBlock::gate(std::int64_t first, std::int64_t n,
                      std::span<const std::int64_t> ends) const {
  float* const row = rows_.data_ptr<float>() + first * columns_;
  gate_rows({.tokens = n,
             .channels = ends.back(),
             .y_stride = columns_,
             .z_stride = columns_,
             .out_stride = columns_},
            row + inner_, row, layer_.gated_norm.const_data_ptr<float>(), ends, row + inner_,
            squares_.data_ptr<float>() + first * squares_.size(1));
}

}  // namespace mnm
