#include "families/llama/llama_gguf.h"

#include "families/llama/llama_config.h"
#include "model/error.h"

namespace mnm {
namespace {

struct Name {
  std::string_view ours, theirs;
};
constexpr Name kOutside[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
constexpr Name kInLayer[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"}};

template <typename Names>
std::string renamed(const std::string& name, const std::string& ours, const std::string& theirs,
                    const Names& names) {
  for (const Name& row : names) {
    for (const char* part : {".weight", ".bias"}) {
      if (name == fmt::format("{}{}{}", ours, row.ours, part)) {
        return fmt::format("{}{}{}", theirs, row.theirs, part);
      }
    }
  }
  fail("the tensor {} has no name in gguf", name);
}

GgufTensor tensor_of(const TensorSpec& spec, const LlamaConfig& config) {
  GgufTensor tensor;
  tensor.source = spec.name;
  if (spec.layer < 0) {
    tensor.name = renamed(spec.name, "", "", kOutside);
    return tensor;
  }
  tensor.name = renamed(spec.name, fmt::format("model.layers.{}.", spec.layer),
                        fmt::format("blk.{}.", spec.layer), kInLayer);
  if (tensor.name.find(".attn_q.") != std::string::npos) tensor.heads = config.heads;
  if (tensor.name.find(".attn_k.") != std::string::npos) tensor.heads = config.kv_heads;
  return tensor;
}

// By how much each frequency is divided: of Llama 3's scaling.
std::vector<float> frequency_divisors(LlamaConfig config) {
  const std::vector<float> scaled = rope_inverse_frequencies(config);
  config.rope_scaling.reset();
  std::vector<float> divisors = rope_inverse_frequencies(config);
  for (std::size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

GgufValue number(std::int64_t value) { return static_cast<std::uint32_t>(value); }

}  // namespace

GgufModel llama_gguf(const NestedModel& submodel) {
  const LlamaConfig config = parse_llama_config(submodel.config, {});
  const Widths widths = submodel.space.full();
  if (config.gate != GateVariant::kActGateTimesUp) {
    fail("gguf cannot hold this model: its FFN computes {}, and llama.cpp computes {} only",
         to_string(config.gate), to_string(GateVariant::kActGateTimesUp));
  }
  if (config.activation != Activation::kSilu) {
    fail("gguf cannot hold this model: its hidden_act is {}, and llama.cpp computes silu only",
         config.hidden_act);
  }
  const bool uniform = is_uniform(widths);
  GgufModel gguf;
  gguf.architecture = uniform ? "llama" : "deci";
  const auto add = [&gguf](const char* key, GgufValue value) {
    gguf.fields.emplace_back(fmt::format("{}.{}", gguf.architecture, key), std::move(value));
  };
  // One number, or one per layer where layers differ.
  const auto per_layer = [&](const char* key, const std::vector<std::int32_t>& values) {
    if (uniform) {
      add(key, number(values.front()));
    } else {
      add(key, values);
    }
  };
  add("vocab_size", number(config.vocab_size));
  add("context_length", number(config.max_position_embeddings));
  add("embedding_length", number(config.hidden_size));
  add("block_count", number(config.layers));
  per_layer("feed_forward_length", {widths.begin(), widths.end()});
  per_layer("attention.head_count",
            std::vector<std::int32_t>(widths.size(), static_cast<std::int32_t>(config.heads)));
  per_layer("attention.head_count_kv",
            std::vector<std::int32_t>(widths.size(), static_cast<std::int32_t>(config.kv_heads)));
  add("attention.layer_norm_rms_epsilon", static_cast<float>(config.rms_norm_eps));
  add("attention.key_length", number(config.head_dim));
  add("attention.value_length", number(config.head_dim));
  add("rope.dimension_count", number(config.head_dim));
  add("rope.freq_base", static_cast<float>(config.rope_theta));

  if (config.rope_scaling) {
    GgufTensor& divisors = gguf.tensors.emplace_back();
    divisors.name = "rope_freqs.weight";
    divisors.values = frequency_divisors(config);
  }
  for (const TensorSpec& spec : submodel.table.tensors) {
    gguf.tensors.push_back(tensor_of(spec, config));
  }
  return gguf;
}

}  // namespace mnm
