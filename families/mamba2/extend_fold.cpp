#include "families/mamba2/extend_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "fold/product.h"

namespace mnm {
namespace {

constexpr std::int64_t kBlockRows = 256;  // at once: what lies between the projections stays small

std::int64_t room_of(const LayerCache& cache, const Mamba2Config& config) {
  return cache.tensors.empty() ? 0 : cache.tensors[0].size(2) - 2 * config.group_state();
}

// Room for `inner` channels; what is new is zero.
void make_room(LayerCache& cache, const Mamba2Config& config, std::int64_t inner,
               std::int64_t sequences, const at::TensorOptions& before,
               const at::TensorOptions& scan) {
  const std::int64_t had = room_of(cache, config), kept = 2 * config.group_state();
  if (!cache.tensors.empty() && had >= inner) return;
  const std::vector<at::Tensor> grown = {
      at::zeros({sequences, config.conv_kernel - 1, kept + inner}, before),
      at::zeros({sequences, inner / config.head_dim, config.state_size, config.head_dim}, scan)};
  if (had > 0) {
    grown[0].narrow(2, 0, kept + had).copy_(cache.tensors[0]);
    grown[1].narrow(1, 0, had / config.head_dim).copy_(cache.tensors[1]);
  }
  cache.tensors = grown;
}

// Tokens of one sequence of a run that go through the layer together.
struct Part {
  const Run* run;
  std::int64_t sequence, first;  // of its tokens
  std::int64_t tokens;
  std::int64_t row;     // of x
  std::int64_t at = 0;  // row of the block
};

// The ranges of `wide` that are not in `narrow`. Both are ascending, and wide has all of narrow.
std::vector<Range> without(const std::vector<Range>& wide, const std::vector<Range>& narrow) {
  std::vector<Range> left;
  for (const Range& range : wide) {
    std::int64_t at = range.begin;
    for (const Range& hole : narrow) {
      if (hole.end <= at || hole.begin >= range.end) continue;
      if (at < hole.begin) left.push_back({at, hole.begin});
      at = hole.end;
    }
    if (at < range.end) left.push_back({at, range.end});
  }
  return left;
}

// Parts with at most kBlockRows rows in all, the widest first.
class PartsMixer {
 public:
  PartsMixer(const Mamba2Config& config, const Mamba2Layer& layer, std::size_t index,
             std::vector<Part> parts, const at::TensorOptions& options)
      : config_(config),
        layer_(layer),
        index_(index),
        parts_(std::move(parts)),
        rows_(place()),
        block_(config, layer, parts_.front().run->width, rows_, 1, options) {}

  // x and out [rows, d].
  void run(const at::Tensor& x, const at::Tensor& out) const {
    std::vector<std::int64_t> order, inner;
    for (const Part& part : parts_) {
      for (std::int64_t t = 0; t < part.tokens; ++t) {
        order.push_back(part.row + t);
        inner.push_back(config_.inner(part.run->width));
      }
    }
    const at::Tensor from = at::tensor(order, at::kLong);
    const at::Tensor parent = x.index_select(0, from);
    project_in(layer_.norm(parent));
    at::parallel_for(0, static_cast<std::int64_t>(parts_.size()), 1,
                     [&](std::int64_t begin, std::int64_t end) {
                       const c10::AutoGradMode no_grad(false);  // thread-local
                       for (std::int64_t i = begin; i < end; ++i) {
                         mix(parts_[static_cast<std::size_t>(i)]);
                       }
                     });
    const at::Tensor sum = project_out();
    const at::Tensor size = at::tensor(inner, x.options()).unsqueeze(1);
    const at::Tensor scale = (block_.squares(0, rows_) / size).add_(config_.norm_eps).rsqrt_();
    const at::Tensor base = layer_.out_bias.defined() ? parent + layer_.out_bias : parent;
    at::Tensor to = out;
    to.index_copy_(0, from, at::addcmul(base, sum, scale));
  }

 private:
  // Gives each part its rows of the block. Returns how many there are.
  std::int64_t place() {
    std::ranges::stable_sort(
        parts_, [](const Part& a, const Part& b) { return a.run->width > b.run->width; });
    std::int64_t row = 0;
    for (Part& part : parts_) {
      part.at = row;
      row += part.tokens;
      rows_of_width_[part.run->width] += part.tokens;
    }
    return row;
  }

  // By the rows of in_proj that each width keeps, those that a narrower one keeps only once.
  void project_in(const at::Tensor& h) const {
    const std::vector<Range> widest = kept_ranges(layer_.cut->in_proj, parts_.front().run->width);
    const auto column_of = [&](std::int64_t row) {
      std::int64_t column = 0;
      for (const Range& range : widest) {
        if (row < range.end) return column + row - range.begin;
        column += range.end - range.begin;
      }
      return column;
    };
    std::vector<Range> done;
    std::int64_t left = rows_;
    for (const auto& [width, count] : rows_of_width_) {
      const std::vector<Range> kept = kept_ranges(layer_.cut->in_proj, width);
      for (const Range& range : without(kept, done)) {
        // The ranges of the widest may be longer: z and x beside each other.
        const std::int64_t size = range.end - range.begin;
        const at::Tensor to = block_.rows(0, left).narrow(1, column_of(range.begin), size);
        const at::Tensor weight = layer_.in_proj.narrow(0, range.begin, size);
        if (layer_.in_bias.defined()) {
          add_product_into(to, layer_.in_bias.narrow(0, range.begin, size), h.narrow(0, 0, left),
                           weight);
        } else {
          product_into(to, h.narrow(0, 0, left), weight);
        }
      }
      done = kept;
      left -= count;
    }
  }

  void mix(const Part& part) const {
    LayerCache& cache = part.run->caches[index_];
    const std::int64_t inner = config_.inner(part.run->width);
    for (std::int64_t t = 0; t < part.tokens;) {
      const std::int64_t n = tokens_at_once(cache, *part.run, part.first + t, part.tokens - t);
      for (at::Tensor& tensor : cache.tensors) own(tensor);
      block_.mix(part.at + t, n, {&inner, 1},
                 {cache.tensors[0][part.sequence], cache.tensors[1][part.sequence]});
      t += n;
    }
  }

  // The product of what was mixed with out_proj: [rows, d].
  at::Tensor project_out() const {
    const at::Tensor mixed = block_.mixed(0, rows_);
    const at::Tensor sum = at::empty({rows_, config_.hidden_size}, mixed.options());
    std::int64_t done = 0, left = rows_;
    for (const auto& [width, count] : rows_of_width_) {
      const std::int64_t part = config_.inner(width) - done;
      const at::Tensor rows = mixed.narrow(0, 0, left).narrow(1, done, part);
      const at::Tensor weight = layer_.out_proj.narrow(1, done, part);
      const at::Tensor to = sum.narrow(0, 0, left);
      if (done == 0) {
        product_into(to, rows, weight);
      } else {
        add_product_into(to, to, rows, weight);
      }
      done += part;
      left -= count;
    }
    return sum;
  }

  const Mamba2Config& config_;
  const Mamba2Layer& layer_;
  const std::size_t index_;
  std::map<Width, std::int64_t> rows_of_width_;
  std::vector<Part> parts_;
  const std::int64_t rows_;
  MixerBlock block_;
};

// The tokens of all sequences, in the order in which they can be computed: [blocks][parts].
std::vector<std::vector<Part>> parts_of(std::span<const Run> runs) {
  std::vector<std::vector<Part>> blocks(1);
  std::int64_t room = kBlockRows, row = 0;
  for (const Run& run : runs) {
    for (std::int64_t s = 0; s < run.sequences; ++s) {
      for (std::int64_t first = 0; first < run.tokens;) {
        if (room == 0) {
          blocks.emplace_back();
          room = kBlockRows;
        }
        const std::int64_t tokens = std::min(room, run.tokens - first);
        blocks.back().push_back({&run, s, first, tokens, row});
        first += tokens;
        row += tokens;
        room -= tokens;
      }
    }
  }
  return blocks;
}

}  // namespace

std::int64_t tokens_at_once(LayerCache& cache, const Run& run, std::int64_t first,
                            std::int64_t most) {
  const std::int64_t before = run.tokens - cache.take_back - first;  // that are never taken back
  if (cache.take_back == 0) return most;
  if (before > 0) return std::min(most, before);
  cache.remember(run.position + first);
  return 1;
}

at::Tensor mamba2_extend(const Mamba2Config& config, const Mamba2Layer& layer, const at::Tensor& x,
                         std::size_t index, std::span<const Run> runs) {
  for (const Run& run : runs) {
    LayerCache& cache = run.caches[index];
    make_room(cache, config, config.inner(run.width), run.sequences, x.options(), x.options());
    for (at::Tensor& tensor : cache.tensors) own(tensor);
  }
  const at::Tensor rows = x.contiguous().view({x.size(2), x.size(3)});
  const at::Tensor out = at::empty_like(rows);
  for (std::vector<Part>& parts : parts_of(runs)) {
    PartsMixer(config, layer, index, std::move(parts), x.options()).run(rows, out);
  }
  return out.view(x.sizes());
}

MixerState take_state(const LayerCache& cache, const Mamba2Config& config, Width width) {
  if (cache.tensors.empty()) return {};
  const std::int64_t kept = 2 * config.group_state(), inner = config.inner(width);
  LayerCache room;
  room.tensors = cache.tensors;
  make_room(room, config, inner, cache.tensors[0].size(0), cache.tensors[0].options(),
            cache.tensors[1].options());
  const at::Tensor& before = room.tensors[0];
  return {at::cat({before.narrow(2, kept, inner), before.narrow(2, 0, kept)}, 2),
          room.tensors[1].narrow(1, 0, config.heads(width)).contiguous()};
}

void keep_state(LayerCache& cache, const Mamba2Config& config, Width width,
                const MixerState& state) {
  const std::int64_t kept = 2 * config.group_state(), inner = config.inner(width);
  make_room(cache, config, inner, state.before.size(0), state.before.options(),
            state.scan.options());
  for (at::Tensor& tensor : cache.tensors) own(tensor);
  cache.tensors[0].narrow(2, kept, inner).copy_(state.before.narrow(2, 0, inner));
  cache.tensors[0].narrow(2, 0, kept).copy_(state.before.narrow(2, inner, kept));
  cache.tensors[1].narrow(1, 0, config.heads(width)).copy_(state.scan);
}

}  // namespace mnm
