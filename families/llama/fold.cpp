#include "fold/fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cmath>

#include "families/end_matrix.h"
#include "families/llama/attention_fold.h"
#include "families/llama/config.h"
#include "families/llama/ffn_fold.h"
#include "families/rms_norm.h"

namespace mnm {
namespace {

struct LlamaLayer {
  LlamaAttentionWeights attention;
  LlamaFfnWeights ffn;
};

class LlamaFold final : public Fold {
 public:
  explicit LlamaFold(const FoldInputs& inputs)
      : config_(parse_llama_config(inputs.model.config, {})),
        weight_(inputs.weight),
        stored_(inputs.model.dtype),
        embedding_(inputs, "model.embed_tokens.weight"),
        head_(config_.tied ? embedding_ : EndMatrix(inputs, "lm_head.weight")),
        element_bytes_(weight_("model.norm.weight").element_size()),
        final_norm_(norm_weight("model.norm.weight")),
        attention_(config_, final_norm_.device()),
        layers_(static_cast<std::size_t>(config_.layers)) {}

  void load(std::size_t layer) override { layers_[layer] = load_layer(layer); }
  void unload(std::size_t layer) override { layers_[layer] = {}; }

  Embedded embed(const Batch& batch) override {
    return {{{scaled(embedding_.at(batch.inputs)).unsqueeze(0)}}, LlamaAttention::branching(batch)};
  }

  State step(std::size_t index, const Givens& givens, const State& parents,
             const Children& children) override {
    const LlamaLayer& layer = layers_[index];
    const at::Tensor x = attention_.attend(layer.attention, parents.tensors.front(), givens);
    return {{llama_ffn(config_, layer.ffn, x, children)}};
  }

  State step_shown(std::size_t index, const Givens&, const State& state,
                   const ChannelSink& sink) override {
    const LlamaLayer& layer = layers_[index];
    const at::Tensor x = attention_.attend(layer.attention, state.tensors.front());
    Children child;
    child.add(0, static_cast<Width>(layer.ffn.gate.size(0)));
    return {{llama_ffn(config_, layer.ffn, x, child, sink)}};
  }

  State extend(std::size_t index, const Givens&, const State& state,
               std::span<const Run> runs) override {
    const LlamaLayer& layer = layers_[index];
    const at::Tensor x =
        attention_.attend_cached(layer.attention, state.tensors.front(), index, runs);
    return {{llama_ffn(config_, layer.ffn, x, runs)}};
  }

  std::uint64_t element_bytes() const override { return element_bytes_; }

  at::Tensor readout(const State& state) override {
    return times(rms_norm(state.tensors.front(), final_norm_, config_.rms_norm_eps),
                 1 / config_.logits_divisor);
  }

  at::Tensor logits(const at::Tensor& rows) override { return capped(head_.product(rows)); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return capped(head_.product(rows, first, count));
  }

 private:
  // What the architecture multiplies by constants, it multiplies into the weights.
  LlamaLayer load_layer(std::size_t index) const {
    const std::string base = fmt::format("model.layers.{}.", index);
    const auto w = [&](const char* name) { return weight_(base + name + ".weight"); };
    const auto b = [&](const char* name, bool there) {
      return there ? weight_(base + name + ".bias") : at::Tensor();
    };
    const bool qkv = config_.qkv_bias;
    // Attention's functions scale scores by 1 / sqrt(head_dim). The rest is multiplied into what
    // makes the queries last: their norm, or their projection.
    const double rest = config_.attention_scale * std::sqrt(static_cast<double>(config_.head_dim));
    const bool normed = config_.head_norms != HeadNorms::kNone;
    const double scale = normed ? 1 : rest;
    LlamaAttentionWeights attention;
    const bool before = config_.architecture->norms_before();
    const bool after = config_.architecture->norms_after();
    const auto norm = [&](std::string_view name, bool there) {
      return there ? norm_weight(fmt::format("{}{}.weight", base, name)) : at::Tensor();
    };
    attention.norm = norm("input_layernorm", before);
    attention.post_norm = norm(config_.architecture->attention_norm_after, after);
    const auto joined = [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      return at::cat({times(in_halves(q), scale), in_halves(k), v});
    };
    if (config_.architecture->fused_qkv) {
      attention.qkv = w("self_attn.qkv_proj");
    } else {
      attention.qkv = joined(w("self_attn.q_proj"), w("self_attn.k_proj"), w("self_attn.v_proj"));
    }
    if (qkv) {
      attention.qkv_bias = joined(b("self_attn.q_proj", true), b("self_attn.k_proj", true),
                                  b("self_attn.v_proj", true));
    }
    attention.q_norm = times(norm("self_attn.q_norm", normed), rest);
    attention.k_norm = norm("self_attn.k_norm", normed);
    attention.window = config_.windows[index];
    attention.turns = config_.turns[index];
    attention.local = config_.local[index];
    const double residual = config_.residual_multiplier;
    attention.o = times(w("self_attn.o_proj"), residual);
    attention.o_bias = times(b("self_attn.o_proj", config_.o_bias), residual);
    return {attention, load_ffn(base)};
  }

  // Of the layer whose tensors' names begin with `base`.
  LlamaFfnWeights load_ffn(const std::string& base) const {
    const double residual = config_.residual_multiplier;
    const auto w = [&](const char* name) { return weight_(base + name + ".weight"); };
    const auto b = [&](const char* name) {
      return config_.mlp_bias ? weight_(base + name + ".bias") : at::Tensor();
    };
    const auto norm = [&](std::string_view name, bool there) {
      return there ? norm_weight(fmt::format("{}{}.weight", base, name)) : at::Tensor();
    };
    LlamaFfnWeights ffn;
    ffn.norm = norm(config_.architecture->ffn_norm(), config_.architecture->norms_before());
    ffn.post_norm = norm(config_.architecture->ffn_norm_after, config_.architecture->norms_after());
    if (config_.architecture->fused_ffn) {
      const at::Tensor both = w("mlp.gate_up_proj");
      const std::int64_t half = both.size(0) / 2;
      ffn.gate = both.narrow(0, 0, half);
      ffn.up = both.narrow(0, half, half);
    } else {
      ffn.gate = w("mlp.gate_proj");
      ffn.up = w("mlp.up_proj");
    }
    const at::Tensor down = w("mlp.down_proj");
    const at::Tensor down_bias = b("mlp.down_proj");
    ffn.down = times(down, residual);
    ffn.gate_bias = unless_zero(b("mlp.gate_proj"));
    ffn.up_bias = unless_zero(b("mlp.up_proj"));
    ffn.down_bias = times(unless_zero(down_bias), residual);
    if (config_.compensated) {
      const at::Tensor means = weight_(base + "mlp.down_proj.input_mean");
      ffn.removed =
          RemovedMeans(down, means, down_bias, stored_, at::scalar_tensor(residual, at::kDouble));
    }
    return ffn;
  }

  // Biases of zeros, as compensation puts them beside gate and up, are not worth adding; while a
  // model is trained they may become others.
  static at::Tensor unless_zero(const at::Tensor& bias) {
    if (!bias.defined() || at::GradMode::is_enabled()) return bias;
    return bias.count_nonzero().item<std::int64_t>() == 0 ? at::Tensor() : bias;
  }

  // The rows of q or k in an order in which positions turn an element of each half of what is
  // turned of a head. Queries and keys in the same order have the same products.
  at::Tensor in_halves(const at::Tensor& rows) const {
    if (!config_.architecture->turns_pairs) return rows;
    const at::Tensor heads = rows.reshape({-1, config_.head_dim, rows.numel() / rows.size(0)});
    const std::int64_t turned = config_.rotary_dim;
    const at::Tensor pairs = heads.narrow(1, 0, turned).unflatten(1, {-1, 2});
    const at::Tensor rest = heads.narrow(1, turned, config_.head_dim - turned);
    return at::cat({pairs.transpose(1, 2).flatten(1, 2), rest}, 1).reshape(rows.sizes());
  }

  // Embeddings times their multiplier, which Gemma rounds to their type before.
  at::Tensor scaled(const at::Tensor& x) const {
    const double factor = config_.embedding_multiplier;
    if (!config_.architecture->unit_norms) return times(x, factor);
    return x * at::full({}, factor, x.options());
  }

  // cap * tanh(logits / cap), in their place where nothing is to be differentiated.
  at::Tensor capped(const at::Tensor& logits) const {
    const double cap = config_.logits_cap;
    if (cap == 0) return logits;
    if (at::GradMode::is_enabled()) return at::tanh(logits / cap) * cap;
    at::Tensor in_place = logits;
    return in_place.div_(cap).tanh_().mul_(cap);
  }

  static at::Tensor times(const at::Tensor& weight, double factor) {
    return factor == 1 || !weight.defined() ? weight : weight * factor;
  }

  // What the norm's result is multiplied by.
  at::Tensor norm_weight(const std::string& name) const {
    return offset_weight(weight_(name), config_.norm_offset);
  }

  LlamaConfig config_;
  WeightSource weight_;
  Dtype stored_;  // what the checkpoint's tensors are in
  EndMatrix embedding_, head_;
  std::uint64_t element_bytes_;
  at::Tensor final_norm_;
  LlamaAttention attention_;
  std::vector<LlamaLayer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_llama_fold(const FoldInputs& inputs) {
  return std::make_unique<LlamaFold>(inputs);
}

}  // namespace mnm
