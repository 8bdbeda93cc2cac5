#include "families/vit/mlp_fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "fold/product.h"

namespace mnm {
namespace {

// Rows of a block on the CPU: activations of so many rows stay in a core's cache, or in the cache
// that cores share.
constexpr std::int64_t kBlockRows = 1024;

std::string_view approximation(VitActivation activation) {
  return activation == VitActivation::kGeluTanh ? "tanh" : "none";
}

// gelu(fc1(norm(rows))) up to `width`: [n, width].
at::Tensor activations(const VitConfig& config, const VitMlpWeights& weights,
                       const at::Tensor& rows, std::int64_t width) {
  const at::Tensor h = at::layer_norm(rows, {config.hidden_size}, weights.norm, weights.norm_bias,
                                      config.layer_norm_eps);
  at::Tensor act =
      product(h, weights.fc1.narrow(0, 0, width), weights.fc1_bias.narrow(0, 0, width));
  if (c10::GradMode::is_enabled()) return at::gelu(act, approximation(config.activation));
  return at::gelu_(act, approximation(config.activation));
}

at::Tensor each_alone(const VitConfig& config, const VitMlpWeights& weights, const at::Tensor& x,
                      const Children& children) {
  std::vector<at::Tensor> out;
  for (std::int64_t p = 0; p < children.parents(); ++p) {
    const at::Tensor rows = x[p].reshape({-1, config.hidden_size});
    for (const Width width : children.of(p)) {
      const at::Tensor act = activations(config, weights, rows, width);
      at::Tensor y = product(act, weights.fc2.narrow(1, 0, width), weights.fc2_bias);
      const at::Tensor gain = weights.removed.gains({&width, 1}).front();
      if (gain.defined()) y = y + gain;
      out.push_back((rows + y).view(x[p].sizes()));
    }
  }
  return at::stack(out);
}

// rows [n, d] of one or several parents -> one [n, d] for each width, written by `put`.
template <typename Put>
void siblings_of(const VitConfig& config, const VitMlpWeights& weights, const at::Tensor& rows,
                 std::span<const Width> widths, const ChannelSink& sink, const Put& put) {
  const at::Tensor act = activations(config, weights, rows, widths.back());
  if (sink) sink(act);
  at::Tensor sum = rows + weights.fc2_bias;
  std::int64_t done = 0;
  for (std::size_t s = 0; s < widths.size(); ++s) {
    const std::int64_t part = widths[s] - done;
    const at::Tensor child = put(static_cast<std::int64_t>(s));
    add_product_into(child, sum, act.narrow(1, done, part), weights.fc2.narrow(1, done, part));
    sum = child;
    done = widths[s];
  }
  const std::vector<at::Tensor> gains = weights.removed.gains(widths);
  for (std::size_t s = 0; s < widths.size(); ++s) {
    if (gains[s].defined()) put(static_cast<std::int64_t>(s)).add_(gains[s]);
  }
}

// The number of parents from `first` on whose children have the same widths.
std::int64_t alike(const Children& children, std::int64_t first) {
  std::int64_t end = first + 1;
  while (end < children.parents() && std::ranges::equal(children.of(first), children.of(end))) {
    ++end;
  }
  return end - first;
}

}  // namespace

at::Tensor vit_mlp(const VitConfig& config, const VitMlpWeights& weights, const at::Tensor& x,
                   const Children& children, const ChannelSink& sink) {
  if (c10::GradMode::is_enabled()) return each_alone(config, weights, x, children);
  const std::int64_t rows = x.size(1) * x.size(2), d = config.hidden_size;
  const at::Tensor in = x.contiguous().view({x.size(0), rows, d});
  const at::Tensor out = at::empty({children.nodes(), rows, d}, x.options());
  for (std::int64_t first = 0, count; first < children.parents(); first += count) {
    count = alike(children, first);
    const std::span<const Width> widths = children.of(first);
    const auto siblings = static_cast<std::int64_t>(widths.size());
    const at::Tensor parents = in.narrow(0, first, count);
    const at::Tensor to =
        out.narrow(0, children.begin_of(first), count * siblings).view({count, siblings, rows, d});
    if (count > 1 && rows < kBlockRows) {
      // Together in few products: each child's rows are gathered, then put to their parents.
      const std::int64_t step = std::max<std::int64_t>(1, kBlockRows / rows);
      for (std::int64_t p = 0; p < count; p += step) {
        const std::int64_t n = std::min(step, count - p);
        const at::Tensor made = at::empty({siblings, n * rows, d}, x.options());
        siblings_of(config, weights, parents.narrow(0, p, n).reshape({n * rows, d}), widths, sink,
                    [&](std::int64_t s) { return made[s]; });
        to.narrow(0, p, n).copy_(made.view({siblings, n, rows, d}).transpose(0, 1));
      }
      continue;
    }
    for (std::int64_t p = 0; p < count; ++p) {
      for (std::int64_t row = 0; row < rows; row += kBlockRows) {
        const std::int64_t n = std::min(kBlockRows, rows - row);
        siblings_of(config, weights, parents[p].narrow(0, row, n), widths, sink,
                    [&](std::int64_t s) { return to[p][s].narrow(0, row, n); });
      }
    }
  }
  return out.view({children.nodes(), x.size(1), x.size(2), d});
}

}  // namespace mnm
