#include "families/llama/gguf.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace mnm {
namespace {

struct Name {
  std::string_view ours, theirs;
};
constexpr Name kOutside[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
constexpr Name kInLayer[] = {
    {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},      {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.qkv_proj", "attn_qkv"},  {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},           {"mlp.down_proj", "ffn_down"},
    {"mlp.gate_up_proj", "ffn_up"}};

// The norms before and after blocks, the later rows first: where nothing is normed after attention,
// the name of that norm is the FFN's.
std::vector<Name> norm_names(const LlamaArchitecture& architecture) {
  std::vector<Name> names;
  if (architecture.norms_after()) {
    names = {{architecture.attention_norm_after, "post_attention_norm"},
             {architecture.ffn_norm_after, "post_ffw_norm"}};
  }
  if (architecture.norms_before()) {
    names.push_back({"input_layernorm", "attn_norm"});
    names.push_back({architecture.ffn_norm(), architecture.gguf_ffn_norm});
  }
  return names;
}

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

// `pairs`: the file's rotary heads turn neighbours, and the checkpoint's do not.
GgufTensor tensor_of(const TensorSpec& spec, const LlamaConfig& config, bool pairs) {
  GgufTensor tensor;
  tensor.source = spec.name;
  if (config.norm_offset != 0 && spec.norm_groups > 0) tensor.function = GgufFunction::kPlusOne;
  if (spec.layer < 0) {
    tensor.name = renamed(spec.name, "", "", kOutside);
    return tensor;
  }
  const std::string ours = fmt::format("model.layers.{}.", spec.layer),
                    theirs = fmt::format("blk.{}.", spec.layer);
  const bool of_block = spec.norm_groups > 0 && spec.name.find(".self_attn.") == std::string::npos;
  tensor.name = of_block ? renamed(spec.name, ours, theirs, norm_names(*config.architecture))
                         : renamed(spec.name, ours, theirs, kInLayer);
  if (pairs && tensor.name.find(".attn_q.") != std::string::npos) tensor.heads = config.heads;
  if (pairs && tensor.name.find(".attn_k.") != std::string::npos) tensor.heads = config.kv_heads;
  return tensor;
}

GgufValue number(std::int64_t value) { return static_cast<std::uint32_t>(value); }

// By how much each frequency is divided: of Llama 3's scaling.
std::vector<float> frequency_divisors(LlamaConfig config) {
  const std::vector<float> scaled = rope_inverse_frequencies(config);
  config.rope_scaling.reset();
  std::vector<float> divisors = rope_inverse_frequencies(config);
  for (std::size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

// Whether llama.cpp, which takes the defaults of everything but the factor, computes this yarn.
bool is_usual(const RopeScaling& scaling) {
  const RopeScaling usual;
  return scaling.beta_fast == usual.beta_fast && scaling.beta_slow == usual.beta_slow &&
         scaling.truncates == usual.truncates &&
         scaling.attention_factor == usual_attention_factor(scaling);
}

// Whether llama.cpp reads what frequencies are divided by from a tensor, for this architecture.
bool reads_divisors(const LlamaArchitecture& architecture, RopeType type) {
  return architecture.gguf_divisors || (type == RopeType::kLongrope && architecture.longrope);
}

void add_divisors(const std::string& name, std::vector<float> values, GgufModel& gguf) {
  GgufTensor& divisors = gguf.tensors.emplace_back();
  divisors.name = name;
  divisors.values = std::move(values);
}

void add_rope_scaling(const LlamaConfig& config, GgufModel& gguf) {
  // Of the type dynamic there is nothing to say: the file's context is the original one.
  if (!config.rope_scaling || config.rope_scaling->type == RopeType::kDynamic) return;
  const RopeScaling& scaling = *config.rope_scaling;
  const auto add = [&gguf](const char* key, GgufValue value) {
    gguf.fields.emplace_back(fmt::format("{}.rope.scaling.{}", gguf.architecture, key),
                             std::move(value));
  };
  if (scaling.type == RopeType::kLlama3) {
    return add_divisors("rope_freqs.weight", frequency_divisors(config), gguf);
  }
  add("type", std::string(to_string(scaling.type)));
  if (scaling.type != RopeType::kLongrope) add("factor", static_cast<float>(scaling.factor));
  if (scaling.type != RopeType::kLinear) {
    add("original_context_length", number(scaling.original_max_position_embeddings));
  }
  if (scaling.type != RopeType::kLongrope) return;
  add("attn_factor", static_cast<float>(scaling.attention_factor));
  add_divisors("rope_factors_long.weight", {scaling.long_factor.begin(), scaling.long_factor.end()},
               gguf);
  add_divisors("rope_factors_short.weight",
               {scaling.short_factor.begin(), scaling.short_factor.end()}, gguf);
}

// Where llama.cpp's architecture attends to all positions: within the shortest window that is the
// same.
std::int64_t context_of(const LlamaConfig& config) {
  std::int64_t context = config.max_position_embeddings;
  if (config.architecture->gguf_windows) return context;
  for (const std::int64_t window : config.windows) {
    if (window > 0) context = std::min(context, window);
  }
  return context;
}

// The window that the file states, of an architecture that has windows.
std::int64_t window_of(const LlamaConfig& config) {
  const std::int64_t window = std::ranges::max(config.windows);
  return window > 0 ? window : config.max_position_embeddings;
}

// Why llama.cpp has a window, or another RoPE, in other layers; empty: it has them in the same.
std::string windows_refusal(const LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  if (!architecture.gguf_windows) return "";
  const bool hides = std::ranges::max(config.windows) > 0;
  const auto step = static_cast<std::size_t>(architecture.full_every);
  for (std::size_t layer = 0; layer < config.windows.size(); ++layer) {
    const bool theirs = (layer + 1) % step != 0;
    const bool ours = architecture.local_rope ? config.local[layer] : config.windows[layer] > 0;
    if (ours == theirs || (!hides && !architecture.local_rope)) continue;
    return fmt::format(
        "llama.cpp has a window in all layers but every {}. one, and layer {} is otherwise", step,
        layer);
  }
  return "";
}

// Why llama.cpp turns the heads of other layers; empty: it does not.
std::string turns_refusal(const LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  for (std::size_t layer = 0; layer < config.turns.size(); ++layer) {
    constexpr std::size_t kStep = 4;  // llama.cpp knows no other
    if (architecture.turns == TurnRule::kListed &&
        config.turns[layer] != ((layer + 1) % kStep != 0)) {
      return fmt::format(
          "llama.cpp turns the heads of all layers but every fourth, and layer {} "
          "is otherwise",
          layer);
    }
  }
  if (architecture.turns != TurnRule::kWindowed) return "";
  const bool all = std::ranges::find(config.turns, false) == config.turns.end();
  const bool any = std::ranges::find(config.local, true) != config.local.end();
  if (all && !any && config.layers != architecture.gguf_other_layers) return "";
  return fmt::format(
      "llama.cpp goes by the number of layers: of {} all but every fourth have a window and turn "
      "their heads, and of others all turn",
      architecture.gguf_other_layers);
}

// Why llama.cpp computes something else than Gemma's caps, windows and scale; empty: it does not.
std::string capped_refusal(const LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  if (architecture.caps == CapRule::kBoth &&
      (config.attention_cap == 0 || config.logits_cap == 0)) {
    return "llama.cpp always caps its scores and logits, and a cap of this model is null";
  }
  if (architecture.query_scalar) {
    const std::int64_t scalar = config.layers == architecture.gguf_other_layers
                                    ? config.hidden_size / config.heads
                                    : config.head_dim;
    if (config.query_scalar != scalar) {
      return fmt::format("query_pre_attn_scalar is {}, and llama.cpp takes {}", config.query_scalar,
                         scalar);
    }
  }
  return windows_refusal(config);
}

// Error unless GGUF and llama.cpp have what the model needs.
void require_in_gguf(const LlamaConfig& config, bool uniform) {
  if (const std::string why = llama_gguf_refusal(config); !why.empty()) {
    fail("gguf cannot hold this model: {}", why);
  }
  if (!uniform && !llama_gguf_mixes(config)) {
    fail(
        "gguf cannot hold layers of different widths of this model: llama.cpp has them for Llama's "
        "arithmetic alone, and {}",
        config.activation == Activation::kSilu ? config.differs_from_llama()
                                               : "its hidden_act is " + config.hidden_act);
  }
}

}  // namespace

std::string llama_gguf_refusal(const LlamaConfig& config) {
  const LlamaArchitecture& architecture = *config.architecture;
  if (architecture.gguf.empty()) {
    return fmt::format("llama.cpp has no architecture for {}", architecture.model_type);
  }
  if (config.gate != GateVariant::kActGateTimesUp) {
    return fmt::format("its FFN computes {}, and llama.cpp computes {} only",
                       to_string(config.gate), to_string(GateVariant::kActGateTimesUp));
  }
  const bool tanh = architecture.act == "gelu_pytorch_tanh";
  if (config.activation != (tanh ? Activation::kGeluTanh : Activation::kSilu)) {
    return fmt::format("its hidden_act is {}, and llama.cpp computes {} only", config.hidden_act,
                       architecture.act);
  }
  if (const std::string why = turns_refusal(config); !why.empty()) return why;
  if (architecture.gguf_square && config.q_size() != config.hidden_size) {
    return fmt::format(
        "llama.cpp takes the heads of q to have hidden_size elements together, {}, and they have "
        "{}",
        config.hidden_size, config.q_size());
  }
  if (architecture.unit_norms && !config.tied) {
    return "llama.cpp takes its embedding as its head, and tie_word_embeddings is false";
  }
  if (config.o_bias && !architecture.gguf_output_bias) {
    return fmt::format("llama.cpp has no biases of its attention's output, and {} is true",
                       architecture.o_bias);
  }
  if (config.mlp_bias && !architecture.gguf_mlp_bias) {
    return fmt::format("llama.cpp has no biases in its FFN, and {} is true", architecture.mlp_bias);
  }
  for (const RopeType type : {RopeType::kLlama3, RopeType::kLongrope}) {
    if (config.rope_scaling && config.rope_scaling->type == type &&
        !reads_divisors(architecture, type)) {
      return fmt::format("its RoPE is of the type {}, which llama.cpp does not compute for {}",
                         to_string(type), architecture.gguf);
    }
  }
  if (config.rope_scaling && config.rope_scaling->type == RopeType::kYarn &&
      !is_usual(*config.rope_scaling)) {
    return "its yarn has a beta, an mscale, a truncate or an attention_factor of its own, and "
           "llama.cpp takes the defaults";
  }
  return capped_refusal(config);
}

bool llama_gguf_mixes(const LlamaConfig& config) {
  LlamaConfig near = config;  // as far as the file's context reaches
  near.windows.assign(near.windows.size(), 0);
  return config.activation == Activation::kSilu && near.differs_from_llama().empty();
}

GgufModel llama_gguf(const NestedModel& submodel) {
  const LlamaConfig config = parse_llama_config(submodel.config, {});
  const Widths widths = submodel.space.full();
  const bool uniform = is_uniform(widths);
  require_in_gguf(config, uniform);
  const bool pairs =
      (!uniform || config.architecture->gguf_pairs) && !config.architecture->turns_pairs;
  GgufModel gguf;
  gguf.architecture = uniform ? std::string(config.architecture->gguf) : "deci";
  gguf.half_gelu = config.activation == Activation::kGeluTanh;
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
  add("context_length", number(context_of(config)));
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
  add("rope.dimension_count", number(config.rotary_dim));
  add("rope.freq_base", static_cast<float>(config.rope_theta));

  if (config.architecture->multipliers) {
    add("attention.scale", static_cast<float>(config.attention_scale));
    add("embedding_scale", static_cast<float>(config.embedding_multiplier));
    add("residual_scale", static_cast<float>(config.residual_multiplier));
    add("logit_scale", static_cast<float>(config.logits_divisor));
  }
  if (config.architecture->gguf_windows) {
    add("attention.sliding_window", number(window_of(config)));
    if (config.local_theta != 0) add("rope.freq_base_swa", static_cast<float>(config.local_theta));
  }
  if (config.attention_cap != 0) {
    add("attn_logit_softcapping", static_cast<float>(config.attention_cap));
  }
  if (config.logits_cap != 0) {
    add("final_logit_softcapping", static_cast<float>(config.logits_cap));
  }
  add_rope_scaling(config, gguf);
  for (const TensorSpec& spec : submodel.table.tensors) {
    gguf.tensors.push_back(tensor_of(spec, config, pairs));
  }
  return gguf;
}

}  // namespace mnm
