#include <ATen/ATen.h>
#include <fmt/format.h>

#include "families/end_matrix.h"
#include "families/llama/llama_attention_fold.h"
#include "families/llama/llama_config.h"
#include "families/llama/llama_ffn_fold.h"
#include "families/row_norm.h"
#include "fold/fold.h"

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
        embedding_(inputs, "model.embed_tokens.weight"),
        head_(config_.tied ? embedding_ : EndMatrix(inputs, "lm_head.weight")),
        final_norm_(weight_("model.norm.weight")),
        attention_(config_, final_norm_.device()),
        layers_(static_cast<std::size_t>(config_.layers)) {}

  void load(std::size_t layer) override { layers_[layer] = load_layer(layer); }
  void unload(std::size_t layer) override { layers_[layer] = {}; }

  Embedded embed(const Batch& batch) override {
    return {{{embedding_.at(batch.tokens).unsqueeze(0)}}, {}};
  }

  State step(std::size_t index, const Givens&, const State& parents,
             const Children& children) override {
    const LlamaLayer& layer = layers_[index];
    const at::Tensor x = attention_.attend(layer.attention, parents.tensors.front());
    return {{llama_ffn(config_, layer.ffn, x, children)}};
  }

  State extend(std::size_t index, const Givens&, const State& state, Width width,
               std::int64_t position, std::span<LayerCache> caches) override {
    const LlamaLayer& layer = layers_[index];
    const at::Tensor x =
        attention_.attend_cached(layer.attention, state.tensors.front(), position, caches[index]);
    Children child;
    child.add(0, width);
    return {{llama_ffn(config_, layer.ffn, x, child)}};
  }

  std::uint64_t element_bytes() const override { return final_norm_.element_size(); }

  at::Tensor readout(const State& state) override {
    return row_norm(state.tensors.front(), final_norm_, config_.rms_norm_eps);
  }

  at::Tensor logits(const at::Tensor& rows) override { return head_.product(rows); }
  at::Tensor logits_of(const at::Tensor& rows, std::int64_t first, std::int64_t count) override {
    return head_.product(rows, first, count);
  }

 private:
  LlamaLayer load_layer(std::size_t index) const {
    const std::string base = fmt::format("model.layers.{}.", index);
    const auto w = [&](const char* name) { return weight_(base + name + ".weight"); };
    const auto b = [&](const char* name, bool there) {
      return there ? weight_(base + name + ".bias") : at::Tensor();
    };
    const bool ab = config_.attention_bias, mb = config_.mlp_bias;
    LlamaAttentionWeights attention;
    attention.norm = w("input_layernorm");
    attention.qkv = at::cat({w("self_attn.q_proj"), w("self_attn.k_proj"), w("self_attn.v_proj")});
    if (ab) {
      attention.qkv_bias = at::cat(
          {b("self_attn.q_proj", true), b("self_attn.k_proj", true), b("self_attn.v_proj", true)});
    }
    attention.o = w("self_attn.o_proj");
    attention.o_bias = b("self_attn.o_proj", ab);
    LlamaFfnWeights ffn;
    ffn.norm = w("post_attention_layernorm");
    ffn.gate = w("mlp.gate_proj");
    ffn.up = w("mlp.up_proj");
    ffn.down = w("mlp.down_proj");
    ffn.gate_bias = b("mlp.gate_proj", mb);
    ffn.up_bias = b("mlp.up_proj", mb);
    ffn.down_bias = b("mlp.down_proj", mb);
    return {attention, ffn};
  }

  LlamaConfig config_;
  WeightSource weight_;
  EndMatrix embedding_, head_;
  at::Tensor final_norm_;
  LlamaAttention attention_;
  std::vector<LlamaLayer> layers_;
};

}  // namespace

std::unique_ptr<Fold> make_llama_fold(const FoldInputs& inputs) {
  return std::make_unique<LlamaFold>(inputs);
}

}  // namespace mnm
