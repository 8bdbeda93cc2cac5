#include "families/vit/huggingface.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "families/compensation.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/submodel_config.h"
#include "families/vit/config.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_vit;  // the bridge file's text

namespace {

constexpr std::string_view kBridge = "modeling_mixnmatch_vit";

bool is_native(const VitConfig& config, const Widths& kept) {
  return is_uniform(kept) && kept.front() % vit_native_multiple(config) == 0;
}

}  // namespace

Width vit_native_multiple(const VitConfig& config) {
  return config.kind->style.mlp_ratio ? static_cast<Width>(config.hidden_size) : 1;
}

nlohmann::json vit_huggingface_config(const NestedModel& model, const Widths& widths, Dtype dtype) {
  model.space.require(widths);
  const VitConfig config = parse_vit_config(model.config, {});
  const Widths kept = kept_widths(widths);
  nlohmann::json json = submodel_config(model.config, dtype);
  json.erase("architecture");  // timm's
  // Of DINOv2 as a backbone: layers by their numbers, which may be others now.
  for (const char* key : {"out_features", "out_indices", "stage_names"}) json.erase(key);
  json["hidden_act"] = config.hidden_act;
  write_vit_width(*config.kind, config.hidden_size, std::ranges::max(kept), json);
  json["layer_norm_eps"] = config.layer_norm_eps;
  json["num_hidden_layers"] = kept.size();
  json["qkv_bias"] = config.qkv_bias;
  write_image_patches(config.image, json);
  write_granularities(model.space, widths, json);
  if (config.compensated) drop_compensation(json);
  write_may_skip(model.space, widths, json);
  const VitKind& kind = *config.kind;
  if (kind.style.mask_token) json["use_mask_token"] = config.mask_token;
  if (kind.registers) json["num_register_tokens"] = config.registers;
  if (is_native(config, kept)) {
    json["architectures"] = {kind.class_name};
    json["model_type"] = kind.model_type;
    return json;
  }
  const std::string own = fmt::format("MixNMatch{}", kind.class_name);
  json["architectures"] = {own};
  json["auto_map"] = {{"AutoConfig", fmt::format("{}.{}", kBridge, kind.config)},
                      {"AutoModelForImageClassification", fmt::format("{}.{}", kBridge, own)}};
  json[kWidthsKey] = kept;
  json["model_type"] = kind.bridge_model_type;
  return json;
}

std::map<std::string, std::string> vit_huggingface_bridge(const NestedModel& model,
                                                          const Widths& widths) {
  if (is_native(parse_vit_config(model.config, {}), kept_widths(widths))) return {};
  return {{fmt::format("{}.py", kBridge), std::string(modeling_mixnmatch_vit)}};
}

}  // namespace mnm
