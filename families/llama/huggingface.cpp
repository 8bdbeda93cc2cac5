#include "families/llama/huggingface.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "families/compensation.h"
#include "families/granularities.h"
#include "families/llama/config.h"
#include "families/may_skip.h"
#include "families/submodel_config.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_llama;  // the bridge file's text

namespace {

std::string bridge_stem(const LlamaArchitecture& architecture) {
  return fmt::format("modeling_{}", bridge_type_of(architecture));
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
}

// Llama's bridge with another architecture's classes, which have the same FFN.
std::string bridge_text(const LlamaArchitecture& architecture) {
  std::string text(modeling_mixnmatch_llama);
  replace_all(text, "mixnmatch_llama", bridge_type_of(architecture));
  for (const char* before : {" ", "("}) {  // its base, not the bridge's own
    replace_all(text, fmt::format("{}LlamaConfig", before),
                fmt::format("{}{}Config", before, config_stem_of(architecture)));
  }
  replace_all(text, "Llama", architecture.stem);
  return text;
}

// Whether transformers' own class computes it.
bool is_native(const LlamaConfig& config, const Widths& kept) {
  return is_uniform(kept) && config.gate == GateVariant::kActGateTimesUp;
}

// Whether a reader that is told the divisors alone computes the rest: older ones of Phi-3 take no
// other keys.
bool is_usual_longrope(const LlamaConfig& config) {
  const RopeScaling& scaling = *config.rope_scaling;
  const auto original = static_cast<double>(scaling.original_max_position_embeddings);
  return scaling.attention_factor == usual_attention_factor(scaling) &&
         scaling.factor == static_cast<double>(config.max_position_embeddings) / original;
}

// A partial_rotary_factor of which a reader, who cuts off the product with head_dim, takes
// rotary_dim.
double rotary_factor(const LlamaConfig& config) {
  const auto head = static_cast<double>(config.head_dim);
  double factor = static_cast<double>(config.rotary_dim) / head;
  if (std::trunc(head * factor) < static_cast<double>(config.rotary_dim)) {
    factor = std::nextafter(factor, 2.0);
  }
  return factor;
}

void write_rope(const LlamaConfig& config, nlohmann::json& json) {
  nlohmann::json rope = {{"rope_type", "default"}};
  if (config.rope_scaling) {
    const RopeScaling& scaling = *config.rope_scaling;
    const bool longrope = scaling.type == RopeType::kLongrope;
    rope = {{"rope_type", to_string(scaling.type)}, {"factor", scaling.factor}};
    if (scaling.type == RopeType::kLlama3) {
      rope["low_freq_factor"] = scaling.low_freq_factor;
      rope["high_freq_factor"] = scaling.high_freq_factor;
    }
    if (scaling.type == RopeType::kYarn) {
      rope["beta_fast"] = scaling.beta_fast;
      rope["beta_slow"] = scaling.beta_slow;
      rope["attention_factor"] = scaling.attention_factor;  // mscale is in it
      if (!scaling.truncates) rope["truncate"] = false;
    }
    if (longrope) {
      rope["short_factor"] = scaling.short_factor;
      rope["long_factor"] = scaling.long_factor;
      rope["attention_factor"] = scaling.attention_factor;
    }
    if (scaling.type != RopeType::kLinear && scaling.type != RopeType::kDynamic) {
      rope["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
    }
    if (!config.architecture->longrope) {
      json["rope_scaling"] = rope;  // without rope_theta, which older readers do not know in there
      json["rope_scaling"]["type"] = to_string(scaling.type);  // as still older ones spell it
    } else if (is_usual_longrope(config)) {
      json["rope_scaling"] = {{"type", to_string(scaling.type)},
                              {"short_factor", scaling.short_factor},
                              {"long_factor", scaling.long_factor}};
    }
  }
  if (config.architecture->longrope) {
    json["original_max_position_embeddings"] =
        config.rope_scaling ? config.rope_scaling->original_max_position_embeddings
                            : config.max_position_embeddings;
  }
  if (config.architecture->partial_rotary) {
    rope["partial_rotary_factor"] = json["partial_rotary_factor"] = rotary_factor(config);
  }
  rope["rope_theta"] = config.rope_theta;
  json["rope_theta"] = config.rope_theta;
  json["rope_parameters"] = rope;
  if (!config.architecture->local_rope) return;
  json["rope_parameters"] = {
      {"full_attention", rope},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", config.local_theta}}}};
  json["rope_local_base_freq"] = config.local_theta;
}

void write_biases(const LlamaConfig& config, const LlamaArchitecture& written,
                  nlohmann::json& json) {
  const LlamaArchitecture& read = *config.architecture;
  for (const std::string_view key : {read.qkv_bias, read.o_bias, read.mlp_bias}) json.erase(key);
  const auto write = [&json](std::string_view key, bool value) {
    if (!key.empty()) json[key] = value;
  };
  write(written.qkv_bias, config.qkv_bias);
  write(written.o_bias, config.o_bias);
  write(written.mlp_bias, config.mlp_bias);
}

// Which layers attend to a window, and which do not turn their heads, of those that are kept.
void write_layer_kinds(const LlamaConfig& config, const Widths& widths, nlohmann::json& json) {
  const LlamaArchitecture& architecture = *config.architecture;
  const bool by_window = architecture.turns == TurnRule::kWindowed;
  const bool by_kind = by_window || architecture.local_rope;  // even if the window hides nothing
  std::int64_t window = 0;
  bool any_window = false;
  nlohmann::json types = nlohmann::json::array(), turns = nlohmann::json::array();
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    const bool local = by_kind ? config.local[layer] : config.windows[layer] > 0;
    window = std::max(window, config.windows[layer]);
    any_window = any_window || local || (by_window && !config.turns[layer]);
    types.push_back(local ? "sliding_attention" : "full_attention");
    turns.push_back(config.turns[layer] ? 1 : 0);
  }
  for (const char* key : {"_sliding_window_pattern", "layer_types", "max_window_layers",
                          "no_rope_layers", "no_rope_layer_interval", "sliding_window",
                          "sliding_window_pattern", "use_sliding_window"}) {
    json.erase(key);
  }
  if (architecture.turns == TurnRule::kListed) json["no_rope_layers"] = turns;
  if (architecture.window == WindowRule::kNone) return;
  // Classes whose layers have types want a window even where no layer has it, unless that says that
  // all of them turn.
  const bool typed = architecture.window == WindowRule::kTyped;
  if (window == 0 && typed && (any_window || !by_window)) window = config.max_position_embeddings;
  json["sliding_window"] = window > 0 ? nlohmann::json(window) : nlohmann::json(nullptr);
  if (architecture.window == WindowRule::kAll) return;
  json["layer_types"] = types;
  if (typed) return;
  json["use_sliding_window"] = window > 0;
  // Readers without layer_types.
  const auto first = std::ranges::find(types, "sliding_attention");
  if (architecture.window == WindowRule::kFlagged)
    json["max_window_layers"] = first - types.begin();
}

}  // namespace

nlohmann::json llama_huggingface_config(const NestedModel& model, const Widths& widths,
                                        Dtype dtype) {
  model.space.require(widths);
  const LlamaConfig config = parse_llama_config(model.config, {});
  const Widths kept = kept_widths(widths);
  nlohmann::json json = submodel_config(model.config, dtype);
  // Of the source's spelling, and written anew where it holds still.
  for (const char* key : {"matformer_gate", "original_max_position_embeddings",
                          "partial_rotary_factor", "per_layer_config", "rope_scaling"}) {
    json.erase(key);
  }
  if (config.architecture->mup_scales) {
    for (const char* key : {"scale_emb", "scale_depth", "dim_model_base"}) json.erase(key);
  }
  const LlamaArchitecture& architecture = written_as(*config.architecture);
  write_biases(config, architecture, json);
  json["head_dim"] = config.head_dim;
  json[architecture.act_key] = config.hidden_act;
  json["intermediate_size"] = std::ranges::max(kept);
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["num_hidden_layers"] = kept.size();
  json["num_key_value_heads"] = config.kv_heads;
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["tie_word_embeddings"] = config.tied;
  write_rope(config, json);
  write_layer_kinds(config, widths, json);
  if (architecture.multipliers) {
    json["attention_multiplier"] = config.attention_scale;
    json["embedding_multiplier"] = config.embedding_multiplier;
    json["residual_multiplier"] = config.residual_multiplier;
    json["logits_scaling"] = config.logits_divisor;
  }
  const auto cap = [](double value) {
    return value == 0 ? nlohmann::json() : nlohmann::json(value);
  };
  if (architecture.caps != CapRule::kNone) {
    json["attn_logit_softcapping"] = cap(config.attention_cap);
    json["final_logit_softcapping"] = cap(config.logits_cap);
  }
  if (architecture.query_scalar) json["query_pre_attn_scalar"] = config.query_scalar;
  write_granularities(model.space, widths, json);
  if (config.compensated) drop_compensation(json);
  write_may_skip(model.space, widths, json);

  if (is_native(config, kept)) {
    json["architectures"] = {class_of(architecture)};
    json["model_type"] = architecture.model_type;
    return json;
  }
  const std::string bridge = bridge_stem(architecture), own = bridge_class_of(architecture);
  json["architectures"] = {own};
  json["auto_map"] = {
      {"AutoConfig", fmt::format("{}.MixNMatch{}Config", bridge, architecture.stem)},
      {"AutoModelForCausalLM", fmt::format("{}.{}", bridge, own)}};
  json["model_type"] = bridge_type_of(architecture);
  if (!is_uniform(kept)) json[kWidthsKey] = kept;
  json["matformer_gate"] = to_string(config.gate);
  return json;
}

nlohmann::json llama_per_layer_config(const NestedModel& model) {
  const LlamaConfig config = parse_llama_config(model.config, {});
  if (config.gate != GateVariant::kActGateTimesUp) {
    fail("per_layer_config cannot say that the FFN computes {}: leave out --per-layer-config",
         to_string(config.gate));
  }
  const Widths widths = model.space.full();
  const LlamaArchitecture& architecture = written_as(*config.architecture);
  nlohmann::json json = llama_huggingface_config(model, widths, config.dtype);
  for (const char* key : {"auto_map", "matformer_gate", kWidthsKey}) json.erase(key);
  json["architectures"] = {class_of(architecture)};
  json["model_type"] = architecture.model_type;
  const Width widest = std::ranges::max(widths);
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == widest) continue;
    json["per_layer_config"][fmt::format("{}", layer)] = {{"intermediate_size", widths[layer]}};
  }
  return json;
}

std::map<std::string, std::string> llama_huggingface_bridge(const NestedModel& model,
                                                            const Widths& widths) {
  const LlamaConfig config = parse_llama_config(model.config, {});
  if (is_native(config, kept_widths(widths))) return {};
  const LlamaArchitecture& architecture = written_as(*config.architecture);
  return {{fmt::format("{}.py", bridge_stem(architecture)), bridge_text(architecture)}};
}

}  // namespace mnm
