#include "families/vit/vit_huggingface.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "families/granularities.h"
#include "families/may_skip.h"
#include "families/submodel_config.h"
#include "families/vit/vit_config.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_vit;  // the bridge file's text

namespace {

constexpr std::string_view kBridge = "modeling_mixnmatch_vit";

}  // namespace

nlohmann::json vit_huggingface_config(const NestedModel& model, const Widths& widths, Dtype dtype) {
  model.space.require(widths);
  const VitConfig config = parse_vit_config(model.config, {});
  const Widths kept = kept_widths(widths);
  nlohmann::json json = submodel_config(model.config, dtype);
  json.erase("architecture");  // timm's
  json["hidden_act"] = config.hidden_act;
  json["intermediate_size"] = std::ranges::max(kept);
  json["layer_norm_eps"] = config.layer_norm_eps;
  json["num_hidden_layers"] = kept.size();
  json["qkv_bias"] = config.qkv_bias;
  write_image_patches(config.image, json);
  write_granularities(model.space, widths, json);
  write_may_skip(model.space, widths, json);
  const VitKind& kind = *config.kind;
  if (is_uniform(kept)) {
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

std::map<std::string, std::string> vit_huggingface_bridge(const Widths& widths) {
  if (is_uniform(kept_widths(widths))) return {};
  return {{fmt::format("{}.py", kBridge), std::string(modeling_mixnmatch_vit)}};
}

}  // namespace mnm
