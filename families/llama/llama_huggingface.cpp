#include "families/llama/llama_huggingface.h"

#include <algorithm>

#include "families/llama/llama_config.h"
#include "families/may_skip.h"
#include "model/error.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_llama;  // the bridge file's text

namespace {

constexpr std::string_view kBridge = "modeling_mixnmatch_llama";

// Whether transformers' own class computes it.
bool is_native(const LlamaConfig& config, const Widths& kept) {
  return is_uniform(kept) && config.gate == GateVariant::kActGateTimesUp;
}

void write_rope(const LlamaConfig& config, nlohmann::json& json) {
  nlohmann::json rope = {{"rope_type", "default"}};
  if (config.rope_scaling) {
    const Llama3Scaling& scaling = *config.rope_scaling;
    rope = {{"rope_type", "llama3"},
            {"factor", scaling.factor},
            {"low_freq_factor", scaling.low_freq_factor},
            {"high_freq_factor", scaling.high_freq_factor},
            {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
    json["rope_scaling"] = rope;  // without rope_theta, which older readers do not know in there
  }
  rope["rope_theta"] = config.rope_theta;
  json["rope_parameters"] = rope;
  json["rope_theta"] = config.rope_theta;
}

}  // namespace

nlohmann::json llama_huggingface_config(const NestedModel& model, const Widths& widths,
                                        Dtype dtype) {
  model.space.require(widths);
  const LlamaConfig config = parse_llama_config(model.config, {});
  const Widths kept = kept_widths(widths);
  nlohmann::json json = model.config;
  // What described the source, and is written anew where it holds still.
  for (const char* key : {"_name_or_path", "auto_map", "matformer_gate", "matformer_granularities",
                          "matformer_widths", "mixnmatch", "original_max_position_embeddings",
                          "partial_rotary_factor", "rope_scaling", "transformers_version"}) {
    json.erase(key);
  }
  json["dtype"] = json["torch_dtype"] = torch_name(dtype);
  // Defaults differ between readers and versions, so what is computed is spelled out.
  json["attention_bias"] = config.attention_bias;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = config.hidden_act;
  json["intermediate_size"] = std::ranges::max(kept);
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["mlp_bias"] = config.mlp_bias;
  json["num_hidden_layers"] = kept.size();
  json["num_key_value_heads"] = config.kv_heads;
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["tie_word_embeddings"] = config.tied;
  write_rope(config, json);
  write_granularities(model.space, widths, json);
  write_may_skip(model.space, widths, json);

  if (is_native(config, kept)) {
    json["architectures"] = {"LlamaForCausalLM"};
    json["model_type"] = "llama";
    return json;
  }
  json["architectures"] = {"MixNMatchLlamaForCausalLM"};
  json["auto_map"] = {
      {"AutoConfig", fmt::format("{}.MixNMatchLlamaConfig", kBridge)},
      {"AutoModelForCausalLM", fmt::format("{}.MixNMatchLlamaForCausalLM", kBridge)}};
  json["model_type"] = kBridgeModelType;
  if (!is_uniform(kept)) json["matformer_widths"] = kept;
  json["matformer_gate"] = to_string(config.gate);
  return json;
}

std::map<std::string, std::string> llama_huggingface_bridge(const NestedModel& model,
                                                            const Widths& widths) {
  if (is_native(parse_llama_config(model.config, {}), kept_widths(widths))) return {};
  return {{fmt::format("{}.py", kBridge), std::string(modeling_mixnmatch_llama)}};
}

}  // namespace mnm
