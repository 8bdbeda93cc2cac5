#include "families/mamba2/layer_fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "families/mamba2/sequence_fold.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

// What a width keeps of a tensor that is cut along `dim` as `spec` says.
at::Tensor kept(const at::Tensor& whole, std::int64_t dim, const TensorSpec& spec, Width width) {
  std::vector<at::Tensor> parts;
  for (const Range& range : kept_ranges(spec, width)) {
    parts.push_back(whole.narrow(dim, range.begin, range.end - range.begin));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, dim);
}

at::Tensor finish(const Mamba2Layer& layer, const at::Tensor& parent, const at::Tensor& out) {
  const at::Tensor y = layer.out_bias.defined() ? out + layer.out_bias : out;
  return parent + y.view(parent.sizes());
}

}  // namespace

BlockNorm load_block_norm(const WeightSource& weight, const std::string& name, bool bias,
                          double epsilon) {
  return {weight(name + ".weight"), bias ? weight(name + ".bias") : at::Tensor(), epsilon};
}

void add_mamba2_children(const Mamba2Config& config, const Mamba2Layer& layer,
                         const at::Tensor& parent, const at::Tensor& gated,
                         std::span<const Width> widths, std::vector<at::Tensor>& out) {
  const at::ScalarType type = gated.scalar_type(), product_type = layer.gated_norm.scalar_type();
  const at::Tensor scaled = gated * layer.gated_norm.narrow(0, 0, gated.size(1));
  at::Tensor sum, squares;
  std::int64_t done = 0;
  for (const Width width : widths) {
    const std::int64_t inner = config.inner(width), part = inner - done;
    const at::Tensor square = gated.narrow(1, done, part).square().sum(1, /*keepdim=*/true);
    const at::Tensor segment = product(scaled.narrow(1, done, part).to(product_type),
                                       layer.out_proj.narrow(1, done, part));
    squares = done == 0 ? square : squares + square;
    sum = done == 0 ? segment.to(type) : sum + segment;
    const at::Tensor scale = (squares / static_cast<double>(inner) + config.norm_eps).rsqrt();
    out.push_back(finish(layer, parent, (sum * scale).to(product_type)));
    done = inner;
  }
}

Mamba2Layers::Mamba2Layers(const FoldInputs& inputs, const Mamba2Config& config, std::string base,
                           bool norm_bias, double norm_epsilon)
    : config_(config),
      weight_(inputs.weight),
      base_(std::move(base)),
      norm_bias_(norm_bias),
      norm_epsilon_(norm_epsilon),
      layers_(static_cast<std::size_t>(config.layers)) {
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const auto spec = [&](const char* name) {
      const std::string full_name = fmt::format("{}{}.mixer.{}", base_, layer, name);
      const TensorSpec* found = inputs.model.table.find(full_name);
      if (found == nullptr) fail("the tensor table has no {}", full_name);
      return *found;
    };
    cuts_.push_back({spec("in_proj.weight"), spec("conv1d.weight")});
  }
}

void Mamba2Layers::load(std::size_t index) {
  const std::string base = fmt::format("{}{}.", base_, index);
  const auto w = [&](const char* name) { return weight_(base + name); };
  const auto optional = [&](const char* name, bool there) {
    return there ? weight_(base + name) : at::Tensor();
  };
  Mamba2Layer layer;
  layer.cut = &cuts_[index];
  layer.norm = load_block_norm(weight_, base + "norm", norm_bias_, norm_epsilon_);
  layer.in_proj = w("mixer.in_proj.weight");
  layer.in_bias = optional("mixer.in_proj.bias", config_.bias);
  layer.conv = w("mixer.conv1d.weight").squeeze(1).t().contiguous();
  layer.conv_bias = optional("mixer.conv1d.bias", config_.conv_bias);
  layer.dt_bias = w("mixer.dt_bias");
  const at::Tensor a_log = w("mixer.A_log");
  layer.a = a_log.scalar_type() == at::kDouble ? -a_log.exp() : -a_log.to(at::kFloat).exp();
  layer.d = w("mixer.D");
  layer.gated_norm = w("mixer.norm.weight");
  layer.out_proj = w("mixer.out_proj.weight");
  layer.out_bias = optional("mixer.out_proj.bias", config_.bias);
  layers_[index] = layer;
}

at::Tensor Mamba2Layers::step(std::size_t layer, const at::Tensor& x,
                              const Children& children) const {
  if (c10::GradMode::is_enabled()) return each_alone(layer, x, children);
  if (has_kernels(layer, x)) return mamba2_by_sequence(config_, layers_[layer], x, children);
  std::vector<at::Tensor> out;
  for (std::int64_t p = 0; p < children.parents(); ++p) {
    add_siblings(layer, x[p], children.of(p), nullptr, out);
  }
  return at::stack(out);
}

at::Tensor Mamba2Layers::step_shown(std::size_t index, const at::Tensor& x,
                                    const ChannelSink& sink) const {
  const Mamba2Layer& layer = layers_[index];
  const at::Tensor flat =
      mixed_rows(index, x, mixer(layer, config_.full_width(index))).flatten(0, 1);
  sink(flat);
  return finish(layer, x, product(flat, layer.out_proj));
}

bool Mamba2Layers::has_kernels(std::size_t layer, const at::Tensor& x) const {
  return !on_cuda(x) && x.scalar_type() == at::kFloat &&
         layers_[layer].gated_norm.scalar_type() == at::kFloat && config_.groups == 1;
}

Mixer Mamba2Layers::mixer(const Mamba2Layer& layer, Width width) const {
  const std::int64_t inner = config_.inner(width), heads = config_.heads(width);
  Mixer m;
  m.inner = inner;
  m.head_dim = config_.head_dim;
  m.groups = config_.groups;
  m.state = config_.state_size;
  m.epsilon = config_.norm_eps;
  m.limit = config_.time_step_limit;
  m.conv = kept(layer.conv, 1, layer.cut->conv, width);
  if (layer.conv_bias.defined()) m.conv_bias = kept(layer.conv_bias, 0, layer.cut->conv, width);
  m.dt_bias = layer.dt_bias.narrow(0, 0, heads);
  m.a = layer.a.narrow(0, 0, heads);
  m.d = layer.d.narrow(0, 0, heads);
  m.norm = layer.gated_norm.narrow(0, 0, inner);
  return m;
}

// [.., columns] of normalised rows [.., d].
at::Tensor Mamba2Layers::project_in(const Mamba2Layer& layer, const at::Tensor& rows,
                                    Width width) const {
  const TensorSpec& cut = layer.cut->in_proj;
  const at::Tensor weight = kept(layer.in_proj, 0, cut, width);
  const at::Tensor flat = rows.reshape({-1, config_.hidden_size});
  const at::Tensor bias =
      layer.in_bias.defined() ? kept(layer.in_bias, 0, cut, width) : layer.in_bias;
  const at::Tensor out = product(flat, weight, bias);
  return out.view({rows.size(0), rows.size(1), -1});
}

// What out_proj reads: [sequences, tokens, inner] of x [sequences, tokens, d].
at::Tensor Mamba2Layers::mixed_rows(std::size_t index, const at::Tensor& x, const Mixer& m) const {
  const Mamba2Layer& layer = layers_[index];
  const Width width = static_cast<Width>(m.inner / kInnerPerWidth);
  const at::Tensor rows = project_in(layer, layer.norm(x), width);
  if (has_kernels(index, x)) return mix_with_kernels(m, rows.to(at::kFloat));
  return normed_rows(m, scan_rows(m, rows, nullptr), rows.narrow(2, 0, m.inner));
}

// The differentiable form.
at::Tensor Mamba2Layers::each_alone(std::size_t index, const at::Tensor& x,
                                    const Children& children) const {
  const Mamba2Layer& layer = layers_[index];
  std::vector<at::Tensor> out;
  for (std::int64_t p = 0; p < children.parents(); ++p) {
    const at::Tensor parent = x[p];
    for (const Width width : children.of(p)) {
      const Mixer m = mixer(layer, width);
      const at::Tensor mixed = mixed_rows(index, parent, m);
      const at::Tensor weight = layer.out_proj.narrow(1, 0, m.inner);
      const at::Tensor y = product(mixed.reshape({-1, m.inner}), weight, layer.out_bias);
      out.push_back(parent + y.view(parent.sizes()));
    }
  }
  return at::stack(out);
}

void Mamba2Layers::add_siblings(std::size_t index, const at::Tensor& x,
                                std::span<const Width> widths, MixerState* carried,
                                std::vector<at::Tensor>& out) const {
  const Mamba2Layer& layer = layers_[index];
  const Mixer m = mixer(layer, widths.back());
  const at::Tensor rows = project_in(layer, layer.norm(x), widths.back());
  const at::Tensor y = scan_rows(m, rows, carried), z = rows.narrow(2, 0, m.inner);
  if (widths.size() == 1) {  // its own norm, group by group if it has groups
    const at::Tensor flat = normed_rows(m, y, z).reshape({-1, m.inner});
    out.push_back(finish(layer, x, product(flat, layer.out_proj.narrow(1, 0, m.inner))));
    return;
  }
  const at::ScalarType type = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor gated = (y.to(type) * at::silu(z.to(type))).reshape({-1, m.inner});
  add_mamba2_children(config_, layer, x, gated, widths, out);
}

}  // namespace mnm
