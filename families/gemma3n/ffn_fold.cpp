#include "families/gemma3n/ffn_fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fold/product.h"

namespace mnm {
namespace {

// Gates less than the quantile of their row become 0: Gaussian top-k. g is [rows, w].
at::Tensor clipped(const at::Tensor& g, double sparsity, bool sample) {
  const at::Tensor share = at::full({}, sparsity, g.options().dtype(at::kFloat));
  const at::Tensor quantile = (at::erfinv(share * 2 - 1) * std::sqrt(2.0)).to(g.scalar_type());
  const at::Tensor mean = at::mean(g, -1, true);
  const at::Tensor deviation = at::std(g, at::IntArrayRef{-1}, c10::Scalar(sample ? 1 : 0), true);
  return at::relu(g - (mean + deviation * quantile));
}

at::Tensor activated(const Gemma3nFfnWeights& weights, const at::Tensor& g, const at::Tensor& u) {
  if (weights.sparsity == 0) return at::gelu(g, "tanh") * u;
  return at::gelu(clipped(g, weights.sparsity, weights.sample), "tanh") * u;
}

at::Tensor first_rows(const at::Tensor& x, const at::Tensor& weight, std::int64_t width) {
  return product(x, weight.narrow(0, 0, width));
}

at::Tensor alone(const Gemma3nFfnWeights& weights, const at::Tensor& x, Width width) {
  const at::Tensor inner =
      activated(weights, first_rows(x, weights.gate, width), first_rows(x, weights.up, width));
  return product(inner, weights.down.narrow(1, 0, width));
}

}  // namespace

at::Tensor gemma3n_ffn(const Gemma3nFfnWeights& weights, const at::Tensor& x,
                       std::span<const Width> widths, const ChannelSink& sink) {
  if (at::GradMode::is_enabled()) {
    std::vector<at::Tensor> all;
    for (const Width width : widths) all.push_back(alone(weights, x, width));
    return at::stack(all);
  }
  const at::Tensor g = first_rows(x, weights.gate, widths.back());
  const at::Tensor u = first_rows(x, weights.up, widths.back());
  const at::Tensor out =
      at::empty({static_cast<std::int64_t>(widths.size()), x.size(0), x.size(1)}, x.options());
  at::Tensor inner;
  if (weights.sparsity == 0) inner = activated(weights, g, u);
  for (std::size_t s = 0; s < widths.size(); ++s) {
    const at::Tensor sibling = out[static_cast<std::int64_t>(s)];
    const std::int64_t width = widths[s];
    if (weights.sparsity > 0) {
      inner = activated(weights, g.narrow(1, 0, width), u.narrow(1, 0, width));
    }
    const std::int64_t done = weights.sparsity > 0 || s == 0 ? 0 : widths[s - 1];
    const at::Tensor rows = inner.narrow(1, done, width - done);
    const at::Tensor down = weights.down.narrow(1, done, width - done);
    if (done == 0) {
      product_into(sibling, rows, down);
    } else {
      add_product_into(sibling, out[static_cast<std::int64_t>(s) - 1], rows, down);
    }
  }
  if (sink) sink(inner);
  return out;
}

at::Tensor gemma3n_ffn(const Gemma3nFfnWeights& weights, const at::Tensor& x,
                       std::span<const Run> runs) {
  const Width widest = std::ranges::max_element(runs, {}, &Run::width)->width;
  const Width narrowest = std::ranges::min_element(runs, {}, &Run::width)->width;
  if (widest == narrowest) return gemma3n_ffn(weights, x, std::span(&widest, 1))[0];
  const at::Tensor g = first_rows(x, weights.gate, widest);
  const at::Tensor u = first_rows(x, weights.up, widest);
  const at::Tensor inner = at::zeros_like(g);  // past a run's width nothing is added
  std::int64_t row = 0;
  for (const Run& run : runs) {
    const auto part = [&](const at::Tensor& all) {
      return all.narrow(0, row, run.rows()).narrow(1, 0, run.width);
    };
    part(inner).copy_(activated(weights, part(g), part(u)));
    row += run.rows();
  }
  return product(inner, weights.down.narrow(1, 0, widest));
}

}  // namespace mnm
