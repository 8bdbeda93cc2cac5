#include "families/mamba2/sequence_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "families/mamba2/block_fold.h"
#include "fold/product.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

// Rows of a block: what lies between the projections stays in a core's cache, and what a step needs
// beside its states does not grow with the sequence.
constexpr std::int64_t kBlockRows = 256;

// One sequence of one parent to all of its children. A block of rows goes through three stages:
//
//   rows = norm(x) in_proj^T                [z inner | x inner | B | C | dt], at the widest
//   rows' x = what MixerBlock computes, squares[i] = the sum of its squares up to child i's
//   channels child i = x + out_proj[:, :end i] x[:end i] / sqrt(squares[i] / end i + epsilon)
class SequenceMixer {
 public:
  SequenceMixer(const Mamba2Config& config, const Mamba2Layer& layer, std::span<const Width> widths,
                std::int64_t tokens, const at::TensorOptions& options)
      : config_(config),
        layer_(layer),
        projected_(kept_ranges(layer.cut->in_proj, widths.back())),
        size_(std::min(kBlockRows, tokens)),
        block_(config, layer, widths.back(), size_, static_cast<std::int64_t>(widths.size()),
               options) {
    for (const Width width : widths) ends_.push_back(config.inner(width));
    sum_ = at::empty({size_, config.hidden_size}, options);
  }

  // x [tokens, d], out [children, tokens, d].
  void run(const at::Tensor& x, const at::Tensor& out) {
    const std::int64_t tokens = x.size(0);
    BlockState state;
    if (tokens > size_) state = block_.start(ends_.back());
    for (std::int64_t begin = 0; begin < tokens; begin += size_) {
      const std::int64_t n = std::min(size_, tokens - begin);
      const at::Tensor parent = x.narrow(0, begin, n);
      project_in(layer_.norm(parent));
      block_.mix(0, n, ends_, state);
      write_children(parent, out.narrow(1, begin, n));
    }
  }

 private:
  // By the rows of in_proj that are kept.
  void project_in(const at::Tensor& h) const {
    const at::Tensor rows = block_.rows(0, h.size(0));
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

  // The partial sums of the unnormalised product, each scaled for its child.
  void write_children(const at::Tensor& parent, const at::Tensor& out) const {
    const std::int64_t n = parent.size(0);
    const at::Tensor gated = block_.mixed(0, n);
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
      const at::Tensor scale = block_.squares(0, n)
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
  const std::vector<Range> projected_;  // kept of in_proj
  const std::int64_t size_;             // rows of a block
  MixerBlock block_;
  std::vector<std::int64_t> ends_;  // [children]: channels of each
  at::Tensor sum_;                  // [block, d]
};

}  // namespace

at::Tensor mamba2_by_sequence(const Mamba2Config& config, const Mamba2Layer& layer,
                              const at::Tensor& x, const Children& children) {
  const std::int64_t sequences = x.size(1), tokens = x.size(2);
  const at::Tensor in = x.contiguous();
  const at::Tensor out =
      at::empty({children.nodes(), sequences, tokens, config.hidden_size}, x.options());
  at::parallel_for(0, children.parents() * sequences, 1, [&](std::int64_t begin, std::int64_t end) {
    const c10::AutoGradMode no_grad(false);  // thread-local
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t parent = i / sequences, sequence = i % sequences;
      const std::span<const Width> widths = children.of(parent);
      const at::Tensor to =
          out.narrow(0, children.begin_of(parent), static_cast<std::int64_t>(widths.size()))
              .select(1, sequence);
      SequenceMixer(config, layer, widths, tokens, x.options()).run(in[parent][sequence], to);
    }
  });
  return out;
}

}  // namespace mnm
