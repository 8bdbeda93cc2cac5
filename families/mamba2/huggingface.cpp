#include "families/mamba2/huggingface.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/submodel_config.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_mamba2;  // the bridge file's text

namespace {

constexpr std::string_view kBridge = "modeling_mixnmatch_mamba2";

// transformers' own class computes it: equal widths that a whole `expand` says. Limits of time
// steps it forgets where a token comes by itself, with a cache.
bool is_native(const Mamba2Config& config, const Widths& kept) {
  return is_uniform(kept) && config.inner(kept.front()) % config.hidden_size == 0 &&
         !config.time_step_limit.binds();
}

nlohmann::json spelled(const TimeStepLimit& limit) {
  const nlohmann::json infinity = {{"__float__", "Infinity"}};
  return {limit.low, limit.binds_high() ? nlohmann::json(limit.high) : infinity};
}

}  // namespace

nlohmann::json mamba2_huggingface_keys(const Mamba2Config& config, const Widths& widths,
                                       Dtype dtype, nlohmann::json source) {
  const Widths kept = kept_widths(widths);
  nlohmann::json json = submodel_config(std::move(source), dtype);
  json.erase("time_step_limit");  // written anew where it binds
  json["chunk_size"] = config.chunk_size;
  json["conv_kernel"] = config.conv_kernel;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = "silu";
  json["hidden_size"] = config.hidden_size;
  json["initializer_range"] = config.initializer_range;
  json["layer_norm_epsilon"] = config.norm_eps;
  json["n_groups"] = config.groups;
  json["num_heads"] = config.heads(std::ranges::max(kept));
  json["num_hidden_layers"] = kept.size();
  json["rescale_prenorm_residual"] = config.rescale_prenorm_residual;
  json["residual_in_fp32"] = config.residual_in_fp32;
  json["state_size"] = config.state_size;
  json["tie_word_embeddings"] = config.tied;
  json["time_step_floor"] = config.time_step_floor;
  if (config.time_step_limit.binds()) json["time_step_limit"] = spelled(config.time_step_limit);
  json["time_step_max"] = config.time_step_max;
  json["time_step_min"] = config.time_step_min;
  json["use_bias"] = config.bias;
  json["use_conv_bias"] = config.conv_bias;
  json["vocab_size"] = config.vocab_size;
  if (is_native(config, kept)) {
    json["architectures"] = {"Mamba2ForCausalLM"};
    json["expand"] = config.inner(kept.front()) / config.hidden_size;
    json["model_type"] = "mamba2";
    return json;
  }
  json["architectures"] = {"MixNMatchMamba2ForCausalLM"};
  json["auto_map"] = {
      {"AutoConfig", fmt::format("{}.MixNMatchMamba2Config", kBridge)},
      {"AutoModelForCausalLM", fmt::format("{}.MixNMatchMamba2ForCausalLM", kBridge)}};
  json.erase("expand");  // no whole number; matformer_widths says it
  json[kWidthsKey] = kept;
  json["model_type"] = kMamba2BridgeModelType;
  return json;
}

nlohmann::json mamba2_huggingface_config(const NestedModel& model, const Widths& widths,
                                         Dtype dtype) {
  model.space.require(widths);
  const Mamba2Config config = parse_mamba2_config(model.config, {});
  nlohmann::json json = mamba2_huggingface_keys(config, widths, dtype, model.config);
  // It says how fresh weights are scaled, and transformers 5.23 scales loaded ones as well.
  json["rescale_prenorm_residual"] = false;
  write_granularities(model.space, widths, json);
  write_may_skip(model.space, widths, json);
  return json;
}

std::map<std::string, std::string> mamba2_huggingface_bridge(const NestedModel& model,
                                                             const Widths& widths) {
  if (is_native(parse_mamba2_config(model.config, {}), kept_widths(widths))) return {};
  return {{fmt::format("{}.py", kBridge), std::string(modeling_mixnmatch_mamba2)}};
}

}  // namespace mnm
