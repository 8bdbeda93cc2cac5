#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "families/end_matrix.h"
#include "families/mamba2/mamba2_config.h"
#include "families/mamba2/mamba2_mixer.h"
#include "fold/fold.h"
#include "fold/launch.h"
#include "fold/product.h"
#include "kernels/causal_conv.h"
#include "kernels/gated_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/ssd_scan.h"
#include "model/error.h"
#include "model/slice_plan.h"

namespace mnm {
namespace {

// Rows of a block on the CPU: what lies between the projections stays in a core's cache, and what a
// step needs beside its states does not grow with the sequence.
constexpr std::int64_t kBlockRows = 256;

// How the table cuts the two tensors of a layer that keep several ranges. Their biases are cut
// alike.
struct Mamba2Cut {
  TensorSpec in_proj, conv;
};

struct Mamba2Layer {
  const Mamba2Cut* cut = nullptr;
  at::Tensor norm;                // [d]
  at::Tensor in_proj, in_bias;    // [z inner | x inner | B | C | dt, d], bias or undefined
  at::Tensor conv;                // [taps, x inner | B | C]
  at::Tensor conv_bias;           // [x inner | B | C] or undefined
  at::Tensor dt_bias, a, d;       // [heads]; a = -exp(A_log)
  at::Tensor gated_norm;          // [inner]
  at::Tensor out_proj, out_bias;  // [d, inner], [d] or undefined
};

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

  State embed(const at::Tensor& tokens) override {
    const at::Tensor x = embedding_.at(tokens).unsqueeze(0);
    const bool half = x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
    return {{half && config_.residual_in_fp32 ? x.to(at::kFloat) : x}};
  }

  State step(std::size_t index, const State& parents, std::span<const Child> children) override {
    const Mamba2Layer& layer = layers_[index];
    const at::Tensor& x = parents.tensors.front();
    if (c10::GradMode::is_enabled()) return {{each_alone(layer, x, children)}};
    if (has_kernels(x)) return {{shared_on_cpu(layer, x, children, nullptr)}};
    return {{shared(layer, x, children, nullptr)}};
  }

  State extend(std::size_t index, const State& state, Width width, std::int64_t,
               LayerCache& cache) override {
    const Mamba2Layer& layer = layers_[index];
    const at::Tensor& x = state.tensors.front();
    const Child child = {0, width};
    MixerState carried;
    if (!cache.tensors.empty()) carried = {cache.tensors[0], cache.tensors[1]};
    const at::Tensor out = has_kernels(x) ? shared_on_cpu(layer, x, {&child, 1}, &carried)
                                          : shared(layer, x, {&child, 1}, &carried);
    cache.tensors = {carried.before, carried.scan};
    return {{out}};
  }

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
    if (has_kernels(x) && x.is_contiguous() && !c10::GradMode::is_enabled()) {
      const at::Tensor out = at::empty_like(x);
      const std::int64_t d = config_.hidden_size;
      const float* const from = x.const_data_ptr<float>();
      const float* const scale = weight.const_data_ptr<float>();
      float* const to = out.data_ptr<float>();
      const auto epsilon = static_cast<float>(config_.norm_eps);
      at::parallel_for(0, x.numel() / d, 256, [&](std::int64_t begin, std::int64_t end) {
        mnm::rms_norm(from + begin * d, scale, end - begin, d, epsilon, to + begin * d);
      });
      return out;
    }
    return at::rms_norm(x.to(weight.scalar_type()), {config_.hidden_size}, weight,
                        config_.norm_eps);
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

  // The differentiable form: every child alone.
  at::Tensor each_alone(const Mamba2Layer& layer, const at::Tensor& x,
                        std::span<const Child> children) const {
    std::vector<at::Tensor> out;
    for (const Child& child : children) {
      const at::Tensor parent = x[child.parent];
      const at::Tensor rows = project_in(layer, norm(parent, layer.norm), child.width);
      const Mixer m = mixer(layer, child.width);
      at::Tensor mixed;
      if (has_kernels(x)) {
        mixed = mix_with_kernels(m, rows.to(at::kFloat));
      } else {
        mixed = normed_rows(m, scan_rows(m, rows, nullptr), rows.narrow(2, 0, m.inner));
      }
      const at::Tensor weight = layer.out_proj.narrow(1, 0, m.inner);
      const at::Tensor flat = mixed.reshape({-1, m.inner});
      const at::Tensor y = product(flat, weight, layer.out_bias);
      out.push_back(parent + y.view(parent.sizes()));
    }
    return at::stack(out);
  }

  // All siblings from one scan over the widest, by LibTorch's operators. With g the gated output
  // before its norm and S(w) = out_proj[:, :w] (norm g)[:w], out(w) = S(w) / rms(g[:w]).
  at::Tensor shared(const Mamba2Layer& layer, const at::Tensor& x, std::span<const Child> children,
                    MixerState* carried) const {
    std::vector<at::Tensor> out;
    for_siblings(children, [&](std::span<const Child> siblings) {
      const at::Tensor parent = x[siblings.front().parent];
      const Width widest = siblings.back().width;
      const Mixer m = mixer(layer, widest);
      const at::Tensor rows = project_in(layer, norm(parent, layer.norm), widest);
      const at::Tensor y = scan_rows(m, rows, carried), z = rows.narrow(2, 0, m.inner);
      if (siblings.size() == 1) {  // its own norm, group by group if it has groups
        const at::Tensor flat = normed_rows(m, y, z).reshape({-1, m.inner});
        out.push_back(finish(layer, parent, product(flat, layer.out_proj.narrow(1, 0, m.inner))));
        return;
      }
      const at::ScalarType type = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
      const at::Tensor gated = (y.to(type) * at::silu(z.to(type))).reshape({-1, m.inner});
      const at::Tensor scaled = gated * m.norm;
      at::Tensor sum, squares;
      std::int64_t done = 0;
      for (const Child& child : siblings) {
        const std::int64_t inner = config_.inner(child.width), part = inner - done;
        const at::Tensor square = gated.narrow(1, done, part).square().sum(1, /*keepdim=*/true);
        const at::Tensor segment = product(scaled.narrow(1, done, part).to(rows.scalar_type()),
                                           layer.out_proj.narrow(1, done, part));
        squares = done == 0 ? square : squares + square;
        sum = done == 0 ? segment.to(type) : sum + segment;
        const at::Tensor scale = (squares / static_cast<double>(inner) + config_.norm_eps).rsqrt();
        out.push_back(finish(layer, parent, (sum * scale).to(rows.scalar_type())));
        done = inner;
      }
    });
    return at::stack(out);
  }

  at::Tensor finish(const Mamba2Layer& layer, const at::Tensor& parent,
                    const at::Tensor& out) const {
    const at::Tensor y = layer.out_bias.defined() ? out + layer.out_bias : out;
    return parent + y.view(parent.sizes());
  }

  template <typename Use>
  static void for_siblings(std::span<const Child> children, const Use& use) {
    for (std::size_t begin = 0, end = 0; begin < children.size(); begin = end) {
      while (end < children.size() && children[end].parent == children[begin].parent) ++end;
      use(children.subspan(begin, end - begin));
    }
  }

  // The same by the kernels, sequence by sequence, in blocks of rows that stay in cache.
  at::Tensor shared_on_cpu(const Mamba2Layer& layer, const at::Tensor& x,
                           std::span<const Child> children, MixerState* carried) const {
    const std::int64_t sequences = x.size(1), tokens = x.size(2), d = config_.hidden_size;
    const at::Tensor in = x.contiguous();
    const at::Tensor out =
        at::empty({static_cast<std::int64_t>(children.size()), sequences, tokens, d}, x.options());
    std::vector<std::span<const Child>> families;
    for_siblings(children, [&](std::span<const Child> siblings) { families.push_back(siblings); });
    const auto count = static_cast<std::int64_t>(families.size());
    MixerState after;
    if (carried) {
      const std::int64_t inner = config_.inner(children.front().width);
      after.before =
          carried->before.defined()
              ? carried->before
              : at::zeros({sequences, config_.conv_kernel - 1, inner + 2 * config_.state_size},
                          x.options());
      after.scan = carried->scan.defined() ? carried->scan
                                           : at::zeros({sequences, inner / config_.head_dim,
                                                        config_.state_size, config_.head_dim},
                                                       x.options());
      *carried = after;
    }
    at::parallel_for(0, count * sequences, 1, [&](std::int64_t begin, std::int64_t end) {
      const c10::AutoGradMode no_grad(false);  // thread-local
      for (std::int64_t i = begin; i < end; ++i) {
        const auto family = static_cast<std::size_t>(i / sequences);
        const std::int64_t sequence = i % sequences;
        const std::span<const Child> siblings = families[family];
        const auto first = siblings.data() - children.data();
        std::vector<at::Tensor> to;
        for (std::size_t c = 0; c < siblings.size(); ++c) {
          to.push_back(out[first + static_cast<std::int64_t>(c)][sequence]);
        }
        mix_sequence(layer, in[siblings.front().parent][sequence], siblings,
                     carried ? after.before[sequence] : at::Tensor(),
                     carried ? after.scan[sequence] : at::Tensor(), to);
      }
    });
    return out;
  }

  // One sequence [tokens, d] through one family of siblings: out[i] [tokens, d]. before and scan
  // are read and updated in place where they are defined.
  void mix_sequence(const Mamba2Layer& layer, const at::Tensor& x, std::span<const Child> siblings,
                    at::Tensor before, at::Tensor scan, std::vector<at::Tensor>& out) const {
    const std::int64_t tokens = x.size(0), state = config_.state_size, taps = config_.conv_kernel;
    const std::int64_t inner = config_.inner(siblings.back().width);
    const Width widest = siblings.back().width;
    const std::vector<Range> projected = kept_ranges(layer.cut->in_proj, widest),
                             convolved = kept_ranges(layer.cut->conv, widest);
    const std::int64_t heads = inner / config_.head_dim, mixed = inner + 2 * state;
    const std::int64_t columns = inner + mixed + heads, block = std::min(kBlockRows, tokens);
    std::vector<std::int64_t> ends;
    for (const Child& child : siblings) ends.push_back(config_.inner(child.width));

    const bool whole = tokens <= block && !before.defined();
    if (!before.defined() && !whole) {
      before = at::zeros({taps - 1, mixed}, x.options());
      scan = at::zeros({heads, state, config_.head_dim}, x.options());
    }
    const at::Tensor rows = at::empty({block, columns}, x.options());
    const at::Tensor xbc = at::empty({block, mixed}, x.options());
    const at::Tensor squares =
        at::empty({block, static_cast<std::int64_t>(siblings.size())}, x.options());
    const at::Tensor sum = at::empty({block, config_.hidden_size}, x.options());
    SsdShape shape = {.heads = heads,
                      .head_dim = config_.head_dim,
                      .state = state,
                      .x_stride = mixed,
                      .dt_stride = heads,
                      .bc_stride = mixed,
                      .y_stride = columns};
    for (std::int64_t begin = 0; begin < tokens; begin += block) {
      const std::int64_t n = std::min(block, tokens - begin);
      const at::Tensor parent = x.narrow(0, begin, n), in = rows.narrow(0, 0, n);
      project_in_place(layer, norm(parent, layer.norm), projected, in);
      float* const row = in.data_ptr<float>();
      float* const mixed_rows = xbc.data_ptr<float>();
      const at::Tensor dt =
          time_steps(in.narrow(1, inner + mixed, heads) + layer.dt_bias.narrow(0, 0, heads),
                     config_.time_step_limit)
              .contiguous();

      const float* const taps_data = layer.conv.const_data_ptr<float>();
      const float* const bias =
          layer.conv_bias.defined() ? layer.conv_bias.const_data_ptr<float>() : nullptr;
      const float* const last = whole ? nullptr : before.const_data_ptr<float>();
      const std::int64_t stride = layer.conv.size(1);
      std::int64_t channel = 0;
      for (const Range& range : convolved) {
        convolve(n, range.end - range.begin, columns, mixed, row + inner + channel,
                 last ? last + channel : nullptr, taps_data + range.begin, stride,
                 bias ? bias + range.begin : nullptr, mixed_rows + channel);
        channel += range.end - range.begin;
      }
      if (!whole) keep_last(in.narrow(1, inner, mixed), before);

      shape.tokens = n;
      const float* const dt_data = dt.const_data_ptr<float>();
      float* const carried = whole ? nullptr : scan.data_ptr<float>();
      // Waking a thread takes longer than few tokens do.
      const std::int64_t grain = n < 64 ? heads : std::max<std::int64_t>(8, (heads + 1) / 2);
      at::parallel_for(0, heads, grain, [&](std::int64_t h, std::int64_t end) {
        SsdShape part = shape;
        part.heads = end - h;
        part.chunk = std::min(n, state >= 64 ? std::int64_t{64} : std::int64_t{32});
        std::vector<float> work(static_cast<std::size_t>(ssd_work(part)));
        const std::int64_t at = h * config_.head_dim;
        ssd_scan(
            part,
            {mixed_rows + at, dt_data + h, layer.a.const_data_ptr<float>() + h, mixed_rows + inner,
             mixed_rows + inner + state, layer.d.const_data_ptr<float>() + h},
            carried ? carried + at * state : nullptr, row + inner + at, work.data());
      });
      const GatedShape gate = {.tokens = n,
                               .channels = inner,
                               .y_stride = columns,
                               .z_stride = columns,
                               .out_stride = columns};
      gate_rows(gate, row + inner, row, layer.gated_norm.const_data_ptr<float>(), ends, row + inner,
                squares.data_ptr<float>());

      at::Tensor partial = sum.narrow(0, 0, n);
      const at::Tensor base = layer.out_bias.defined() ? parent + layer.out_bias : parent;
      std::int64_t done = 0;
      for (std::size_t i = 0; i < siblings.size(); ++i) {
        const std::int64_t part = ends[i] - done;
        const at::Tensor gated = in.narrow(1, inner + done, part);
        const at::Tensor weight = layer.out_proj.narrow(1, done, part);
        if (done == 0) {
          product_into(partial, gated, weight);
        } else {
          add_product_into(partial, partial, gated, weight);
        }
        const at::Tensor scale = squares.narrow(0, 0, n)
                                     .narrow(1, static_cast<std::int64_t>(i), 1)
                                     .div(static_cast<double>(ends[i]))
                                     .add_(config_.norm_eps)
                                     .rsqrt_();
        at::Tensor child = out[i].narrow(0, begin, n);
        at::addcmul_out(child, base, partial, scale);
        done = ends[i];
      }
    }
  }

  // rows [n, z inner | x inner | B C dt] = h in_proj^T, of the rows of in_proj that are kept.
  void project_in_place(const Mamba2Layer& layer, const at::Tensor& h, std::span<const Range> kept,
                        const at::Tensor& rows) const {
    std::int64_t column = 0;
    for (const Range& range : kept) {
      const std::int64_t size = range.end - range.begin;
      const at::Tensor to = rows.narrow(1, column, size);
      const at::Tensor weight = layer.in_proj.narrow(0, range.begin, size);
      if (layer.in_bias.defined()) {
        add_product_into(to, layer.in_bias.narrow(0, range.begin, size), h, weight);
      } else {
        product_into(to, h, weight);
      }
      column += size;
    }
  }

  void convolve(std::int64_t tokens, std::int64_t channels, std::int64_t stride, std::int64_t mixed,
                const float* x, const float* before, const float* weight,
                std::int64_t weight_stride, const float* bias, float* out) const {
    causal_conv_silu({.tokens = tokens,
                      .channels = channels,
                      .taps = config_.conv_kernel,
                      .stride = stride,
                      .before_stride = mixed,
                      .out_stride = mixed},
                     x, before, weight, weight_stride, bias, out);
  }

  // before [taps - 1, mixed] becomes the last rows of it followed by x's.
  static void keep_last(const at::Tensor& x, const at::Tensor& before) {
    const std::int64_t room = before.size(0), n = x.size(0);
    if (room == 0) return;
    if (n < room) before.narrow(0, 0, room - n).copy_(before.narrow(0, n, room - n).clone());
    const std::int64_t taken = std::min(n, room);
    before.narrow(0, room - taken, taken).copy_(x.narrow(0, n - taken, taken));
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
