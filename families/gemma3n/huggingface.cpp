#include "families/gemma3n/huggingface.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "families/config_reader.h"
#include "families/gemma3n/config.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/submodel_config.h"

namespace mnm {
namespace {

void write_layers(const Gemma3nConfig& config, const Widths& widths, nlohmann::json& text) {
  nlohmann::json types = nlohmann::json::array(), sparsity = types, sizes = types;
  std::int64_t shared = 0;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    types.push_back(config.sliding[layer] ? "sliding_attention" : "full_attention");
    sparsity.push_back(config.sparsity[layer]);  // floats, or transformers refuses the list
    sizes.push_back(widths[layer]);
    if (!config.has_own_kv(layer)) ++shared;
  }
  text["num_hidden_layers"] = sizes.size();
  text["intermediate_size"] = sizes;
  text["layer_types"] = types;
  text["activation_sparsity_pattern"] = sparsity;
  text["num_kv_shared_layers"] = shared;
}

void write_rope(const Gemma3nConfig& config, nlohmann::json& text) {
  text["rope_theta"] = config.full_theta;
  text["rope_local_base_freq"] = config.sliding_theta;
  text["rope_scaling"] = nullptr;
  text["rope_parameters"] = {
      {"full_attention", {{"rope_type", "default"}, {"rope_theta", config.full_theta}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", config.sliding_theta}}}};
}

// Defaults differ between readers and versions, so what is computed is spelled out.
void write_sizes(const Gemma3nConfig& config, nlohmann::json& text) {
  text["altup_active_idx"] = config.active_stream;
  text["altup_coef_clip"] = config.coef_clip;
  text["altup_correct_scale"] = config.correct_scale;
  text["altup_num_inputs"] = config.streams;
  text["attention_bias"] = config.attention_bias;
  text["final_logit_softcapping"] = config.soft_cap;
  text["head_dim"] = config.head_dim;
  text["hidden_activation"] = "gelu_pytorch_tanh";
  text["hidden_size"] = config.hidden_size;
  text["hidden_size_per_layer_input"] = config.layer_inputs;
  text["laurel_rank"] = config.laurel_rank;
  text["max_position_embeddings"] = config.max_position_embeddings;
  text["num_attention_heads"] = config.heads;
  text["num_key_value_heads"] = config.kv_heads;
  text["rms_norm_eps"] = config.rms_norm_eps;
  text["sliding_window"] = config.window;
  text["tie_word_embeddings"] = config.tied;
  text["vocab_size"] = config.vocab_size;
  text["vocab_size_per_layer_input"] = config.layer_vocab;
}

}  // namespace

nlohmann::json gemma3n_huggingface_config(const NestedModel& model, const Widths& widths,
                                          Dtype dtype) {
  model.space.require(widths);
  const Gemma3nConfig config = parse_gemma3n_config(model.config, {});
  nlohmann::json json = submodel_config(model.config, dtype);
  json["architectures"] = {config.multimodal ? kGemma3nClass : kGemma3nTextClass};
  json["model_type"] = config.multimodal ? kGemma3nModelType : kGemma3nTextModelType;
  json["tie_word_embeddings"] = config.tied;
  nlohmann::json& text = config.multimodal ? json["text_config"] : json;
  text = submodel_config(std::move(text), dtype);
  text["model_type"] = kGemma3nTextModelType;
  write_sizes(config, text);
  write_rope(config, text);
  write_layers(config, widths, text);
  text.erase(kSampleDeviationKey);  // transformers has none
  text.erase(kUnusedKvKey);
  if (!config.unused_kv) text[kUnusedKvKey] = false;
  write_granularities(model.space, widths, text);
  write_may_skip(model.space, widths, text);
  return json;
}

nlohmann::json gemma3n_completed(const nlohmann::json& given, const Checkpoint& checkpoint) {
  const Gemma3nConfig config = parse_gemma3n_config(given, {});
  if (config.own_layers() == config.layers) return given;
  bool there = false;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    for (std::int64_t layer = config.own_layers(); layer < config.layers; ++layer) {
      there =
          there || tensor.name.ends_with(fmt::format("layers.{}.self_attn.k_proj.weight", layer));
    }
  }
  if (there == config.unused_kv) return given;
  nlohmann::json json = given;
  nlohmann::json& text = config.multimodal ? json["text_config"] : json;
  text[kUnusedKvKey] = there;
  return json;
}

nlohmann::json gemma3n_text_config(const NestedModel& model) {
  const Gemma3nConfig config = parse_gemma3n_config(model.config, {});
  if (!config.multimodal) return model.config;
  nlohmann::json text = gemma3n_text_keys(model.config);
  text["architectures"] = {kGemma3nTextClass};
  text["model_type"] = kGemma3nTextModelType;
  text["tie_word_embeddings"] = config.tied;
  text["dtype"] = text["torch_dtype"] = torch_name(model.dtype);
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (!text.contains(key) && model.config.contains(key)) text[key] = model.config[key];
  }
  return text;
}

std::string gemma3n_why_not_padded(const NestedModel& model, const Widths& widths) {
  const Gemma3nConfig config = parse_gemma3n_config(model.config, {});
  const Width widest = std::ranges::max(widths);
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip || config.sparsity[layer] == 0 || widest % widths[layer] == 0) {
      continue;
    }
    return fmt::format(
        "layer {} clips its gates by their mean and spread, which whole copies of its {} gates "
        "keep, and {} is no multiple of {}",
        layer, widths[layer], widest, widths[layer]);
  }
  return "";
}

bool gemma3n_pads_by_repeating(const NestedModel& model, const TensorSpec& spec) {
  if (spec.layer < 0 || !spec.name.ends_with("mlp.gate_proj.weight")) return false;
  const Gemma3nConfig config = parse_gemma3n_config(model.config, {});
  return config.sparsity[static_cast<std::size_t>(spec.layer)] > 0;
}

}  // namespace mnm
