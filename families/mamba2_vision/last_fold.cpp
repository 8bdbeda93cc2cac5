#include "families/mamba2_vision/last_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "families/mamba2/layer_fold.h"
#include "families/mamba2/mixer_fold.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "kernels/causal_conv.h"

namespace mnm {
namespace {

// Parts of a dimension, one after the other.
at::Tensor parts_of(const at::Tensor& whole, std::int64_t dim,
                    std::initializer_list<std::pair<std::int64_t, std::int64_t>> parts) {
  std::vector<at::Tensor> taken;
  for (const auto& [begin, size] : parts) taken.push_back(whole.narrow(dim, begin, size));
  return at::cat(taken, dim);
}

// silu of the causal convolution of x [sequences, tokens, channels]; weight [taps, channels].
at::Tensor convolved(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const std::int64_t taps = weight.size(0), tokens = x.size(1), channels = x.size(2);
  if (!c10::GradMode::is_enabled() && !on_cuda(x) && x.scalar_type() == at::kFloat) {
    const at::Tensor out = at::empty({x.size(0), tokens, channels}, x.options());
    const at::Tensor w = weight.contiguous(), b = bias.defined() ? bias.contiguous() : bias;
    at::parallel_for(0, x.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        causal_conv_silu({.tokens = tokens,
                          .channels = channels,
                          .taps = taps,
                          .stride = x.stride(1),
                          .out_stride = channels},
                         x.const_data_ptr<float>() + i * x.stride(0), nullptr,
                         w.const_data_ptr<float>(), channels,
                         b.defined() ? b.const_data_ptr<float>() : nullptr,
                         out.data_ptr<float>() + i * out.stride(0));
      }
    });
    return out;
  }
  const at::Tensor padded = at::constant_pad_nd(x, {0, 0, taps - 1, 0});
  at::Tensor sum;
  for (std::int64_t k = 0; k < taps; ++k) {
    const at::Tensor part = padded.narrow(1, k, tokens) * weight[k];
    sum = k == 0 ? part : sum + part;
  }
  return at::silu(bias.defined() ? sum + bias : sum);
}

// One parent, [sequences, tokens, d], at its widest child: y silu(z) of the last token, [sequences,
// inner], in f32 or f64.
class LastToken {
 public:
  LastToken(const Mamba2Config& config, const Mamba2Layer& layer, Width width)
      : config_(config),
        layer_(layer),
        inner_(config.inner(width)),
        heads_(config.heads(width)),
        full_(layer.gated_norm.size(0)),
        state_(config.state_size) {}

  at::Tensor gated(const at::Tensor& x) const {
    const std::int64_t tokens = x.size(1), taps = std::min(config_.conv_kernel, tokens);
    const at::Tensor h = layer_.norm(x);
    const std::int64_t c = 2 * full_ + state_, dt = c + state_;  // rows of in_proj
    const at::Tensor rows = project(h, {{full_, inner_}, {2 * full_, state_}, {dt, heads_}});
    const at::Tensor last = project(h.narrow(1, tokens - taps, taps), {{c, state_}}),
                     z = project(h.narrow(1, tokens - 1, 1), {{0, inner_}}).squeeze(1);
    const at::Tensor xb =
        convolve(rows.narrow(2, 0, inner_ + state_), {{0, inner_}, {full_, state_}});
    const at::Tensor read =
        convolve(last, {{full_ + state_, state_}}).narrow(1, taps - 1, 1);  // C_T
    const at::Tensor y = mixed(xb, read, rows.narrow(2, inner_ + state_, heads_));
    return y * at::silu(z.to(y.scalar_type()));
  }

 private:
  // Rows [begin, begin + size) of in_proj, of each of `parts`: [sequences, tokens, sizes].
  at::Tensor project(const at::Tensor& h,
                     std::initializer_list<std::pair<std::int64_t, std::int64_t>> parts) const {
    const at::Tensor bias =
        layer_.in_bias.defined() ? parts_of(layer_.in_bias, 0, parts) : layer_.in_bias;
    const at::Tensor out =
        product(h.reshape({-1, config_.hidden_size}), parts_of(layer_.in_proj, 0, parts), bias);
    return out.view({h.size(0), h.size(1), -1});
  }
  at::Tensor convolve(const at::Tensor& x,
                      std::initializer_list<std::pair<std::int64_t, std::int64_t>> parts) const {
    const at::Tensor bias =
        layer_.conv_bias.defined() ? parts_of(layer_.conv_bias, 0, parts) : layer_.conv_bias;
    return convolved(x, parts_of(layer_.conv, 1, parts), bias);
  }

  // xb [sequences, tokens, inner + state], read [sequences, 1, state], steps [sequences, tokens,
  // heads] -> y [sequences, inner].
  at::Tensor mixed(const at::Tensor& xb, const at::Tensor& read, const at::Tensor& steps) const {
    // The recurrence is taken in f32 at least, as everywhere.
    const at::ScalarType type = xb.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const std::int64_t sequences = xb.size(0), tokens = xb.size(1);
    const at::Tensor dt =
        time_steps((steps + layer_.dt_bias.narrow(0, 0, heads_)).to(type), config_.time_step_limit);
    const at::Tensor decay = dt * layer_.a.narrow(0, 0, heads_).to(type);
    // The sum of what comes after a token, not a difference of sums: it keeps all digits.
    const at::Tensor after =
        at::constant_pad_nd(decay.narrow(1, 1, tokens - 1), {0, 0, 0, 1}).flip(1).cumsum(1).flip(1);
    const at::Tensor scores =
        at::matmul(xb.narrow(2, inner_, state_).to(type), read.to(type).transpose(1, 2));
    const at::Tensor shares = (after.exp() * dt * scores).transpose(1, 2).unsqueeze(2);
    const at::Tensor x = xb.narrow(2, 0, inner_)
                             .to(type)
                             .view({sequences, tokens, heads_, config_.head_dim})
                             .transpose(1, 2);  // [sequences, heads, tokens, head_dim]
    const at::Tensor passed =
        x.select(2, tokens - 1) * layer_.d.narrow(0, 0, heads_).to(type).unsqueeze(1);
    return (at::matmul(shares, x).squeeze(2) + passed).reshape({sequences, inner_});
  }

  const Mamba2Config& config_;
  const Mamba2Layer& layer_;
  std::int64_t inner_, heads_, full_, state_;
};

}  // namespace

at::Tensor mamba2_last_token(const Mamba2Config& config, const Mamba2Layer& layer,
                             const at::Tensor& x, const Children& children) {
  std::vector<at::Tensor> out;
  for (std::int64_t p = 0; p < children.parents(); ++p) {
    const std::span<const Width> widths = children.of(p);
    const at::Tensor gated = LastToken(config, layer, widths.back()).gated(x[p]);
    const at::Tensor last = x[p].narrow(1, x.size(2) - 1, 1);
    add_mamba2_children(config, layer, last, gated, widths, out);
  }
  return at::stack(out);
}

}  // namespace mnm
