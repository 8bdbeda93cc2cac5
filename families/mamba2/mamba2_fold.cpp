#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include "base/error.h"
#include "families/end_matrix.h"
#include "families/mamba2/mamba2_config.h"
#include "families/mamba2/mamba2_extend_fold.h"
#include "families/mamba2/mamba2_mixer_fold.h"
#include "families/mamba2/mamba2_sequence_fold.h"
#include "families/rms_norm.h"
#include "fold/fold.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

class Mamba2Fold final : public Fold {
 public:
  explicit Mamba2Fold(const FoldInputs& inputs)
      : config_(parse_mamba2_config(inputs.model.config, {})), weight_(inputs.weight) {
    embedding_ = EndMatrix(inputs, "backbone.embeddings.weight");
    final_norm_ = weight_("backbone.norm_f.weight");
    head_ = config_.tied ? embedding_ : EndMatrix(inputs, "lm_head.weight");
    layers_.resize(static_cast<std::size_t>(config_.layers));
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      const auto spec = [&](const char* name) {
        const std::string full_name = fmt::format("backbone.layers.{}.mixer.{}", layer, name);
        const TensorSpec* found = inputs.model.table.find(full_name);
        if (found == nullptr) fail("the tensor table has no {}", full_name);
        return *found;
      };
      cuts_.push_back({spec("in_proj.weight"), spec("conv1d.weight")});
    }
  }

  void load(std::size_t layer) override {
    layers_[layer] = load_layer(layer);
    layers_[layer].cut = &cuts_[layer];
  }
  void unload(std::size_t layer) override { layers_[layer] = {}; }

  Embedded embed(const Batch& batch) override {
    const at::Tensor x = embedding_.at(batch.inputs).unsqueeze(0);
    const bool half = x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
    return {{{half && config_.residual_in_fp32 ? x.to(at::kFloat) : x}}, {}};
  }

  State step(std::size_t index, const Givens&, const State& parents,
             const Children& children) override {
    const Mamba2Layer& layer = layers_[index];
    const at::Tensor& x = parents.tensors.front();
    if (c10::GradMode::is_enabled()) return {{each_alone(layer, x, children)}};
    return {{together(layer, x, children)}};
  }

  // Channels are those of the gated norm's result, which out_proj reads.
  State step_shown(std::size_t index, const Givens&, const State& state,
                   const ChannelSink& sink) override {
    const Mamba2Layer& layer = layers_[index];
    const at::Tensor parent = state.tensors.front()[0];
    const at::Tensor flat =
        mixed_rows(layer, parent, mixer(layer, config_.full_width(index))).flatten(0, 1);
    sink(flat);
    return {{finish(layer, parent, product(flat, layer.out_proj)).unsqueeze(0)}};
  }

  State extend(std::size_t index, const Givens&, const State& state,
               std::span<const Run> runs) override {
    const Mamba2Layer& layer = layers_[index];
    const at::Tensor& x = state.tensors.front();
    if (has_kernels(x)) return {{mamba2_extend(config_, layer, x, index, runs)}};
    std::vector<at::Tensor> out;
    std::int64_t row = 0;
    for (const Run& run : runs) {
      LayerCache& cache = run.caches[index];
      const at::Tensor rows = x[0][0].narrow(0, row, run.rows());
      const at::Tensor parent = rows.view({run.sequences, run.tokens, config_.hidden_size});
      std::vector<at::Tensor> parts;
      for (std::int64_t t = 0; t < run.tokens;) {
        const std::int64_t n = tokens_at_once(cache, run, t, run.tokens - t);
        MixerState carried = take_state(cache, config_, run.width);
        std::vector<at::Tensor> child;
        siblings_of(layer, parent.narrow(1, t, n).contiguous(), {&run.width, 1}, &carried, child);
        keep_state(cache, config_, run.width, carried);
        parts.push_back(child.front());
        t += n;
      }
      out.push_back(at::cat(parts, 1).reshape({-1, config_.hidden_size}));
      row += run.rows();
    }
    return {{at::cat(out).view(x.sizes())}};
  }

  bool keeps_states() const override { return true; }

  std::uint64_t element_bytes() const override { return final_norm_.element_size(); }

  at::Tensor readout(const State& state) override {
    return norm(state.tensors.front(), final_norm_);
  }

  at::Tensor logits(const at::Tensor& rows) override { return head_.product(rows); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return head_.product(rows, first, count);
  }

 private:
  Mamba2Layer load_layer(std::size_t index) const {
    const std::string base = fmt::format("backbone.layers.{}.", index);
    const auto w = [&](const char* name) { return weight_(base + name); };
    const auto optional = [&](const char* name, bool there) {
      return there ? weight_(base + name) : at::Tensor();
    };
    Mamba2Layer layer;
    layer.norm = w("norm.weight");
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
    return layer;
  }

  // Whether the CPU kernels apply.
  bool has_kernels(const at::Tensor& x) const {
    return !on_cuda(x) && x.scalar_type() == at::kFloat &&
           final_norm_.scalar_type() == at::kFloat && config_.groups == 1;
  }

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return rms_norm(x.to(weight.scalar_type()), weight, config_.norm_eps);
  }

  // What a width keeps of a tensor that is cut along `dim` as `spec` says.
  static at::Tensor kept(const at::Tensor& whole, std::int64_t dim, const TensorSpec& spec,
                         Width width) {
    std::vector<at::Tensor> parts;
    for (const Range& range : kept_ranges(spec, width)) {
      parts.push_back(whole.narrow(dim, range.begin, range.end - range.begin));
    }
    return parts.size() == 1 ? parts.front() : at::cat(parts, dim);
  }

  Mixer mixer(const Mamba2Layer& layer, Width width) const {
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
  at::Tensor project_in(const Mamba2Layer& layer, const at::Tensor& rows, Width width) const {
    const TensorSpec& cut = layer.cut->in_proj;
    const at::Tensor weight = kept(layer.in_proj, 0, cut, width);
    const at::Tensor flat = rows.reshape({-1, config_.hidden_size});
    const at::Tensor bias =
        layer.in_bias.defined() ? kept(layer.in_bias, 0, cut, width) : layer.in_bias;
    const at::Tensor out = product(flat, weight, bias);
    return out.view({rows.size(0), rows.size(1), -1});
  }

  // What out_proj reads: [sequences, tokens, inner] of x [sequences, tokens, d].
  at::Tensor mixed_rows(const Mamba2Layer& layer, const at::Tensor& x, const Mixer& m) const {
    const Width width = static_cast<Width>(m.inner / kInnerPerWidth);
    const at::Tensor rows = project_in(layer, norm(x, layer.norm), width);
    if (has_kernels(x)) return mix_with_kernels(m, rows.to(at::kFloat));
    return normed_rows(m, scan_rows(m, rows, nullptr), rows.narrow(2, 0, m.inner));
  }

  // The differentiable form: every child alone.
  at::Tensor each_alone(const Mamba2Layer& layer, const at::Tensor& x,
                        const Children& children) const {
    std::vector<at::Tensor> out;
    for (std::int64_t p = 0; p < children.parents(); ++p) {
      const at::Tensor parent = x[p];
      for (const Width width : children.of(p)) {
        const Mixer m = mixer(layer, width);
        const at::Tensor mixed = mixed_rows(layer, parent, m);
        const at::Tensor weight = layer.out_proj.narrow(1, 0, m.inner);
        const at::Tensor y = product(mixed.reshape({-1, m.inner}), weight, layer.out_bias);
        out.push_back(parent + y.view(parent.sizes()));
      }
    }
    return at::stack(out);
  }

  at::Tensor together(const Mamba2Layer& layer, const at::Tensor& x,
                      const Children& children) const {
    if (has_kernels(x)) return mamba2_by_sequence(config_, layer, x, children);
    std::vector<at::Tensor> out;
    for (std::int64_t p = 0; p < children.parents(); ++p) {
      siblings_of(layer, x[p], children.of(p), nullptr, out);
    }
    return at::stack(out);
  }

  // All children of one parent from one scan over the widest, by LibTorch's operators. With g the
  // gated output before its norm and S(w) = out_proj[:, :w] (norm g)[:w], a child of width w is the
  // parent plus S(w) / rms(g[:w]). Added to `out`.
  void siblings_of(const Mamba2Layer& layer, const at::Tensor& parent,
                   std::span<const Width> widths, MixerState* carried,
                   std::vector<at::Tensor>& out) const {
    const Mixer m = mixer(layer, widths.back());
    const at::Tensor rows = project_in(layer, norm(parent, layer.norm), widths.back());
    const at::Tensor y = scan_rows(m, rows, carried), z = rows.narrow(2, 0, m.inner);
    if (widths.size() == 1) {  // its own norm, group by group if it has groups
      const at::Tensor flat = normed_rows(m, y, z).reshape({-1, m.inner});
      out.push_back(finish(layer, parent, product(flat, layer.out_proj.narrow(1, 0, m.inner))));
      return;
    }
    const at::ScalarType type = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor gated = (y.to(type) * at::silu(z.to(type))).reshape({-1, m.inner});
    const at::Tensor scaled = gated * m.norm;
    at::Tensor sum, squares;
    std::int64_t done = 0;
    for (const Width width : widths) {
      const std::int64_t inner = config_.inner(width), part = inner - done;
      const at::Tensor square = gated.narrow(1, done, part).square().sum(1, /*keepdim=*/true);
      const at::Tensor segment = product(scaled.narrow(1, done, part).to(rows.scalar_type()),
                                         layer.out_proj.narrow(1, done, part));
      squares = done == 0 ? square : squares + square;
      sum = done == 0 ? segment.to(type) : sum + segment;
      const at::Tensor scale = (squares / static_cast<double>(inner) + config_.norm_eps).rsqrt();
      out.push_back(finish(layer, parent, (sum * scale).to(rows.scalar_type())));
      done = inner;
    }
  }

  at::Tensor finish(const Mamba2Layer& layer, const at::Tensor& parent,
                    const at::Tensor& out) const {
    const at::Tensor y = layer.out_bias.defined() ? out + layer.out_bias : out;
    return parent + y.view(parent.sizes());
  }

  Mamba2Config config_;
  WeightSource weight_;
  EndMatrix embedding_, head_;
  at::Tensor final_norm_;
  std::vector<Mamba2Cut> cuts_;  // [layers]
  std::vector<Mamba2Layer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_mamba2_fold(const FoldInputs& inputs) {
  return std::make_unique<Mamba2Fold>(inputs);
}

}  // namespace mnm
