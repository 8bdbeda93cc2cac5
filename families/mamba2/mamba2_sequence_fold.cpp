#include "families/mamba2/mamba2_sequence_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "families/rms_norm.h"
#include "fold/product.h"
#include "kernels/causal_conv.h"
#include "kernels/gated_norm.h"
#include "kernels/ssd_scan.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

// Rows of a block: what lies between the projections stays in a core's cache, and what a step needs
// beside its states does not grow with the sequence.
constexpr std::int64_t kBlockRows = 256;

// before [taps - 1, mixed] becomes the last rows of it followed by x's.
void keep_last(const at::Tensor& x, const at::Tensor& before) {
  const std::int64_t room = before.size(0), n = x.size(0);
  if (room == 0) return;
  if (n < room) before.narrow(0, 0, room - n).copy_(before.narrow(0, n, room - n).clone());
  const std::int64_t taken = std::min(n, room);
  before.narrow(0, room - taken, taken).copy_(x.narrow(0, n - taken, taken));
}

// One sequence of one parent to all of its children. A block of rows goes through five stages, each
// a function below:
//
//   rows = norm(x) in_proj^T                [z inner | x inner | B | C | dt], at the widest
//   xbc = silu(conv(x | B | C))
//   x = scan(xbc, dt), head by head
//   x = x silu(z) norm, squares[i] = the sum of (x silu(z))^2 up to child i's channels
//   child i = x + out_proj[:, :end i] x[:end i] / sqrt(squares[i] / end i + epsilon)
class SequenceMixer {
 public:
  SequenceMixer(const Mamba2Config& config, const Mamba2Layer& layer, std::span<const Width> widths,
                std::int64_t tokens, const at::TensorOptions& options)
      : config_(config),
        layer_(layer),
        options_(options),
        projected_(kept_ranges(layer.cut->in_proj, widths.back())),
        convolved_(kept_ranges(layer.cut->conv, widths.back())),
        inner_(config.inner(widths.back())),
        heads_(inner_ / config.head_dim),
        mixed_(inner_ + 2 * config.state_size),
        columns_(inner_ + mixed_ + heads_),
        block_(std::min(kBlockRows, tokens)) {
    for (const Width width : widths) ends_.push_back(config.inner(width));
    rows_ = at::empty({block_, columns_}, options);
    xbc_ = at::empty({block_, mixed_}, options);
    squares_ = at::empty({block_, static_cast<std::int64_t>(ends_.size())}, options);
    sum_ = at::empty({block_, config.hidden_size}, options);
  }

  // x [tokens, d], out [children, tokens, d]. before [taps - 1, mixed] and scan [heads, state,
  // head_dim] are read and updated in place; undefined, they start as zeros.
  void run(const at::Tensor& x, at::Tensor before, at::Tensor scan, const at::Tensor& out) {
    const std::int64_t tokens = x.size(0);
    if (!before.defined() && tokens > block_) {
      before = at::zeros({config_.conv_kernel - 1, mixed_}, options_);
      scan = at::zeros({heads_, config_.state_size, config_.head_dim}, options_);
    }
    for (std::int64_t begin = 0; begin < tokens; begin += block_) {
      const std::int64_t n = std::min(block_, tokens - begin);
      const at::Tensor parent = x.narrow(0, begin, n);
      project_in(rms_norm(parent, layer_.norm, config_.norm_eps));
      convolve(n, before);
      scan_heads(n, scan);
      gate(n);
      write_children(parent, out.narrow(1, begin, n));
    }
  }

 private:
  // By the rows of in_proj that are kept.
  void project_in(const at::Tensor& h) const {
    const at::Tensor rows = rows_.narrow(0, 0, h.size(0));
    std::int64_t column = 0;
    for (const Range& range : projected_) {
      const std::int64_t size = range.end - range.begin;
      const at::Tensor to = rows.narrow(1, column, size);
      const at::Tensor weight = layer_.in_proj.narrow(0, range.begin, size);
      if (layer_.in_bias.defined()) {
        add_product_into(to, layer_.in_bias.narrow(0, range.begin, size), h, weight);
      } else {
        product_into(to, h, weight);
      }
      column += size;
    }
  }

  // By the channels of the convolution that are kept.
  void convolve(std::int64_t n, const at::Tensor& before) const {
    const float* const row = rows_.const_data_ptr<float>() + inner_;
    const float* const weight = layer_.conv.const_data_ptr<float>();
    const float* const bias =
        layer_.conv_bias.defined() ? layer_.conv_bias.const_data_ptr<float>() : nullptr;
    const float* const last = before.defined() ? before.const_data_ptr<float>() : nullptr;
    std::int64_t channel = 0;
    for (const Range& range : convolved_) {
      causal_conv_silu({.tokens = n,
                        .channels = range.end - range.begin,
                        .taps = config_.conv_kernel,
                        .stride = columns_,
                        .before_stride = mixed_,
                        .out_stride = mixed_},
                       row + channel, last ? last + channel : nullptr, weight + range.begin,
                       layer_.conv.size(1), bias ? bias + range.begin : nullptr,
                       xbc_.data_ptr<float>() + channel);
      channel += range.end - range.begin;
    }
    if (before.defined()) keep_last(rows_.narrow(0, 0, n).narrow(1, inner_, mixed_), before);
  }

  // From xbc into the x of the rows.
  void scan_heads(std::int64_t n, const at::Tensor& scan) const {
    const at::Tensor dt = time_steps(rows_.narrow(0, 0, n).narrow(1, inner_ + mixed_, heads_) +
                                         layer_.dt_bias.narrow(0, 0, heads_),
                                     config_.time_step_limit)
                              .contiguous();
    const std::int64_t state = config_.state_size, dim = config_.head_dim;
    const float* const steps = dt.const_data_ptr<float>();
    const float* const a = layer_.a.const_data_ptr<float>();
    const float* const d = layer_.d.const_data_ptr<float>();
    const float* const xbc = xbc_.const_data_ptr<float>();
    float* const carried = scan.defined() ? scan.data_ptr<float>() : nullptr;
    float* const to = rows_.data_ptr<float>() + inner_;
    // Waking a thread takes longer than few tokens do.
    const std::int64_t grain = n < 64 ? heads_ : std::max<std::int64_t>(8, (heads_ + 1) / 2);
    at::parallel_for(0, heads_, grain, [&](std::int64_t head, std::int64_t end) {
      const SsdShape shape = {.tokens = n,
                              .heads = end - head,
                              .head_dim = dim,
                              .state = state,
                              .x_stride = mixed_,
                              .dt_stride = heads_,
                              .bc_stride = mixed_,
                              .y_stride = columns_,
                              .chunk = std::min<std::int64_t>(n, state >= 64 ? 64 : 32)};
      std::vector<float> work(static_cast<std::size_t>(ssd_work(shape)));
      ssd_scan(
          shape,
          {xbc + head * dim, steps + head, a + head, xbc + inner_, xbc + inner_ + state, d + head},
          carried ? carried + head * dim * state : nullptr, to + head * dim, work.data());
    });
  }

  void gate(std::int64_t n) const {
    float* const row = rows_.data_ptr<float>();
    gate_rows({.tokens = n,
               .channels = inner_,
               .y_stride = columns_,
               .z_stride = columns_,
               .out_stride = columns_},
              row + inner_, row, layer_.gated_norm.const_data_ptr<float>(), ends_, row + inner_,
              squares_.data_ptr<float>());
  }

  // The partial sums of the unnormalised product, each scaled for its child.
  void write_children(const at::Tensor& parent, const at::Tensor& out) const {
    const std::int64_t n = parent.size(0);
    const at::Tensor gated = rows_.narrow(0, 0, n).narrow(1, inner_, inner_);
    const at::Tensor base = layer_.out_bias.defined() ? parent + layer_.out_bias : parent;
    const at::Tensor sum = sum_.narrow(0, 0, n);
    std::int64_t done = 0;
    for (std::size_t i = 0; i < ends_.size(); ++i) {
      const auto column = static_cast<std::int64_t>(i);
      const std::int64_t part = ends_[i] - done;
      const at::Tensor rows = gated.narrow(1, done, part);
      const at::Tensor weight = layer_.out_proj.narrow(1, done, part);
      if (done == 0) {
        product_into(sum, rows, weight);
      } else {
        add_product_into(sum, sum, rows, weight);
      }
      const at::Tensor scale = squares_.narrow(0, 0, n)
                                   .narrow(1, column, 1)
                                   .div(static_cast<double>(ends_[i]))
                                   .add_(config_.norm_eps)
                                   .rsqrt_();
      at::Tensor child = out[column];
      at::addcmul_out(child, base, sum, scale);
      done = ends_[i];
    }
  }

  const Mamba2Config& config_;
  const Mamba2Layer& layer_;
  const at::TensorOptions options_;
  const std::vector<Range> projected_, convolved_;  // kept of in_proj and of the convolution
  const std::int64_t inner_;                        // channels of the widest child
  const std::int64_t heads_, mixed_, columns_, block_;
  std::vector<std::int64_t> ends_;  // [children]: channels of each
  at::Tensor rows_, xbc_;           // [block, columns], [block, mixed]
  at::Tensor squares_, sum_;        // [block, children], [block, d]
};

// The state that goes on, zeros before the first token; the kernels update it in place.
void start(const Mamba2Config& config, Width width, std::int64_t sequences,
           const at::TensorOptions& options, MixerState& state) {
  const std::int64_t inner = config.inner(width);
  if (!state.before.defined()) {
    state.before =
        at::zeros({sequences, config.conv_kernel - 1, inner + 2 * config.state_size}, options);
  }
  if (!state.scan.defined()) {
    state.scan = at::zeros({sequences, inner / config.head_dim, config.state_size, config.head_dim},
                           options);
  }
}

}  // namespace

at::Tensor mamba2_by_sequence(const Mamba2Config& config, const Mamba2Layer& layer,
                              const at::Tensor& x, const Children& children, MixerState* carried) {
  const std::int64_t sequences = x.size(1), tokens = x.size(2);
  const at::Tensor in = x.contiguous();
  const at::Tensor out =
      at::empty({children.nodes(), sequences, tokens, config.hidden_size}, x.options());
  if (carried) start(config, children.widths.front(), sequences, x.options(), *carried);
  at::parallel_for(0, children.parents() * sequences, 1, [&](std::int64_t begin, std::int64_t end) {
    const c10::AutoGradMode no_grad(false);  // thread-local
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t parent = i / sequences, sequence = i % sequences;
      const std::span<const Width> widths = children.of(parent);
      const at::Tensor to =
          out.narrow(0, children.begin_of(parent), static_cast<std::int64_t>(widths.size()))
              .select(1, sequence);
      SequenceMixer(config, layer, widths, tokens, x.options())
          .run(in[parent][sequence], carried ? carried->before[sequence] : at::Tensor(),
               carried ? carried->scan[sequence] : at::Tensor(), to);
    }
  });
  return out;
}

}  // namespace mnm
