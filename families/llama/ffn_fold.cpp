#include "families/llama/ffn_fold.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/level_products.h"
#include "families/rms_norm.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "kernels/gated_silu.h"

namespace mnm {
namespace {

// Rows of a block on the CPU: up to a layer's width its activations stay in a core's cache; beyond
// it blocks are larger, since each product copies its weights first.
constexpr std::int64_t kCachedWidth = 512, kCachedRows = 256, kBlockRows = 1024;

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
  }
  fail("activation without an implementation");
}

void activate_in_place(at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      at::silu_(x);
      return;
    case Activation::kGelu:
      at::gelu_(x);
      return;
    case Activation::kGeluTanh:
      at::gelu_(x, "tanh");
      return;
    case Activation::kRelu:
      at::relu_(x);
      return;
  }
}

Act act_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return Act::kSilu;
    case Activation::kGelu:
      return Act::kGelu;
    case Activation::kGeluTanh:
      return Act::kGeluTanh;
    case Activation::kRelu:
      return Act::kRelu;
  }
  fail("activation without a kernel");
}

// The product with some rows of the weight, plus as much of the bias: [rows, neurons].
at::Tensor product_of(const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias,
                      const Range& neurons) {
  const std::int64_t count = neurons.end - neurons.begin;
  return product(rows, weight.narrow(0, neurons.begin, count),
                 bias.defined() ? bias.narrow(0, neurons.begin, count) : bias);
}

// gate = silu(gate) * up, by the CPU kernel.
void gate_by_kernel(const at::Tensor& gate, const at::Tensor& up) {
  float* const to = gate.data_ptr<float>();
  const float* const by = up.const_data_ptr<float>();
  at::parallel_for(0, gate.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    gated_silu(to + begin, by + begin, end - begin);
  });
}

at::Tensor normed(const LlamaConfig& config, const LlamaFfnWeights& weights,
                  const at::Tensor& rows) {
  return weights.norm.defined() ? rms_norm(rows, weights.norm, config.rms_norm_eps) : rows;
}

// Products and activation of some neurons, of normed rows [n, d]: [n, neurons].
at::Tensor activations(const LlamaConfig& config, const LlamaFfnWeights& weights,
                       const at::Tensor& h, const Range& neurons) {
  at::Tensor gate = product_of(h, weights.gate, weights.gate_bias, neurons);
  const at::Tensor up = product_of(h, weights.up, weights.up_bias, neurons);
  const bool of_product = config.gate == GateVariant::kActOfProduct;
  if (at::GradMode::is_enabled()) {
    return of_product ? activate(gate * up, config.activation)
                      : activate(gate, config.activation) * up;
  }
  if (of_product) {
    gate.mul_(up);
    activate_in_place(gate, config.activation);
  } else if (config.activation == Activation::kSilu && !on_cuda(gate) &&
             gate.scalar_type() == at::kFloat) {
    gate_by_kernel(gate, up);
  } else {
    activate_in_place(gate, config.activation);
    gate.mul_(up);
  }
  return gate;
}

at::Tensor each_alone(const LlamaConfig& config, const LlamaFfnWeights& weights,
                      const at::Tensor& x, const Children& children) {
  std::vector<at::Tensor> out;
  for (std::int64_t p = 0; p < children.parents(); ++p) {
    const at::Tensor parent = x[p];
    const at::Tensor rows = parent.reshape({-1, config.hidden_size});
    for (const Width width : children.of(p)) {
      const at::Tensor gain = weights.removed.gains({&width, 1}).front();
      const at::Tensor act =
          activations(config, weights, normed(config, weights, rows), {0, width});
      const bool post = weights.post_norm.defined();
      at::Tensor y =
          at::addmm(post ? at::zeros_like(rows) : rows, act, weights.down.narrow(1, 0, width).t());
      if (weights.down_bias.defined()) y = y + weights.down_bias;
      if (gain.defined()) y = y + gain;
      if (post) y = rows + rms_norm(y, weights.post_norm, config.rms_norm_eps);
      out.push_back(y.view(parent.sizes()));
    }
  }
  return at::stack(out);
}

// Rows [row, row + count) of one parent [rows, d] and of its children [siblings, rows, d]. `gains`
// are of the siblings.
void block_of_siblings(const LlamaConfig& config, const LlamaFfnWeights& weights,
                       std::span<const Width> widths, std::span<const at::Tensor> gains,
                       const at::Tensor& parent, std::int64_t row, std::int64_t count,
                       const at::Tensor& siblings, const ChannelSink& sink) {
  const at::Tensor rows = parent.narrow(0, row, count);
  const at::Tensor act =
      activations(config, weights, normed(config, weights, rows), {0, widths.back()});
  if (sink) sink(act);
  const bool post = weights.post_norm.defined();
  at::Tensor sum = post ? at::zeros_like(rows) : rows;
  if (weights.down_bias.defined()) sum = sum + weights.down_bias;
  std::int64_t done = 0;
  for (std::size_t s = 0; s < widths.size(); ++s) {
    const std::int64_t part = widths[s] - done;
    const at::Tensor child = siblings[static_cast<std::int64_t>(s)].narrow(0, row, count);
    add_product_into(child, sum, act.narrow(1, done, part), weights.down.narrow(1, done, part));
    sum = child;
    done = widths[s];
  }
  for (std::size_t s = 0; s < widths.size(); ++s) {
    at::Tensor child = siblings[static_cast<std::int64_t>(s)].narrow(0, row, count);
    if (gains[s].defined()) child.add_(gains[s]);
    if (!post) continue;
    at::add_out(child, rows, rms_norm(child, weights.post_norm, config.rms_norm_eps));
  }
}

// In blocks of rows that stay in cache. in: [parents, rows, d].
at::Tensor together_on_cpu(const LlamaConfig& config, const LlamaFfnWeights& weights,
                           const at::Tensor& in, const Children& children,
                           const ChannelSink& sink) {
  const std::int64_t rows = in.size(1);
  const at::Tensor out = at::empty({children.nodes(), rows, in.size(2)}, in.options());
  const std::vector<at::Tensor> gains = weights.removed.gains(children.widths);
  const bool cached = weights.gate.size(0) <= kCachedWidth && !sink;
  const std::int64_t block = std::min(cached ? kCachedRows : kBlockRows, rows);
  const std::int64_t blocks = (rows + block - 1) / block;
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    const c10::AutoGradMode no_grad(false);  // thread-local, and these may be other threads
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t parent = i / blocks, row = i % blocks * block;
      const std::span<const Width> widths = children.of(parent);
      const auto first = static_cast<std::size_t>(children.begin_of(parent));
      block_of_siblings(
          config, weights, widths, std::span(gains).subspan(first, widths.size()), in[parent], row,
          std::min(block, rows - row),
          out.narrow(0, children.begin_of(parent), static_cast<std::int64_t>(widths.size())), sink);
    }
  };
  if (cached) {
    at::parallel_for(0, children.parents() * blocks, 1, run);
  } else {
    run(0, children.parents() * blocks);  // in which each product takes all threads
  }
  return out;
}

// The rows of the runs, the widest runs first: [rows].
std::vector<std::int64_t> widest_first(std::span<const Run> runs) {
  std::vector<std::pair<Width, std::int64_t>> starts;
  std::int64_t row = 0;
  for (const Run& run : runs) {
    for (std::int64_t i = 0; i < run.rows(); ++i) starts.emplace_back(run.width, row + i);
    row += run.rows();
  }
  std::ranges::stable_sort(starts, std::greater(), [](const auto& at) { return at.first; });
  std::vector<std::int64_t> order;
  for (const auto& [width, at] : starts) order.push_back(at);
  return order;
}

}  // namespace

at::Tensor llama_ffn(const LlamaConfig& config, const LlamaFfnWeights& weights, const at::Tensor& x,
                     std::span<const Run> runs) {
  std::map<Width, std::int64_t> wide;  // rows of each width
  for (const Run& run : runs) wide[run.width] += run.rows();
  if (wide.size() == 1) {
    Children child;
    child.add(0, runs.front().width);
    return llama_ffn(config, weights, x, child);
  }
  const at::Tensor order = at::tensor(widest_first(runs), at::kLong).to(x.device());
  const at::Tensor rows = x.view({x.size(2), x.size(3)}).index_select(0, order);
  const at::Tensor h = normed(config, weights, rows);
  const bool post = weights.post_norm.defined();
  at::Tensor sum = post ? at::zeros_like(rows) : rows;
  if (weights.down_bias.defined()) sum = sum + weights.down_bias;
  std::int64_t done = 0, left = rows.size(0);
  for (const auto& [width, count] : wide) {
    const at::Tensor act = activations(config, weights, h.narrow(0, 0, left), {done, width});
    const at::Tensor to = sum.narrow(0, 0, left);
    add_product_into(to, to, act, weights.down.narrow(1, done, width - done));
    const at::Tensor gain = weights.removed.gains({&width, 1}).front();
    if (gain.defined()) sum.narrow(0, left - count, count).add_(gain);
    done = width;
    left -= count;
  }
  if (post)
    sum = x.view(rows.sizes()).index_select(0, order) +
          rms_norm(sum, weights.post_norm, config.rms_norm_eps);
  return at::empty_like(sum).index_copy_(0, order, sum).view(x.sizes());
}

at::Tensor llama_ffn(const LlamaConfig& config, const LlamaFfnWeights& weights, const at::Tensor& x,
                     const Children& children, const ChannelSink& sink) {
  if (at::GradMode::is_enabled()) return each_alone(config, weights, x, children);
  const at::Tensor in = x.view({x.size(0), x.size(1) * x.size(2), x.size(3)});
  at::Tensor out;
  if (on_cuda(x) && !sink) {
    const bool post = weights.post_norm.defined();
    out = nested_ffn(
        {weights.gate, weights.up, weights.down, weights.gate_bias, weights.up_bias,
         weights.down_bias, act_of(config.activation), config.gate == GateVariant::kActOfProduct},
        post ? at::zeros_like(in) : in,
        weights.norm.defined() ? rms_norm(in, weights.norm, config.rms_norm_eps) : in, children);
    weights.removed.add_to(out, children);
    if (post) {
      out = rms_norm(out, weights.post_norm, config.rms_norm_eps);
      for (std::int64_t p = 0; p < children.parents(); ++p) {
        out.narrow(0, children.begin_of(p), static_cast<std::int64_t>(children.of(p).size()))
            .add_(in[p]);
      }
    }
  } else {
    out = together_on_cpu(config, weights, in, children, sink);
  }
  return out.view({children.nodes(), x.size(1), x.size(2), x.size(3)});
}

}  // namespace mnm
