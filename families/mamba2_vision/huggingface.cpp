#include "families/mamba2_vision/huggingface.h"

#include <fmt/format.h>

#include <string_view>

#include "families/granularities.h"
#include "families/mamba2_vision/config.h"
#include "families/may_skip.h"
#include "families/submodel_config.h"

namespace mnm {

extern const std::string_view modeling_mixnmatch_mamba2_vision;  // the bridge file's text

namespace {

constexpr std::string_view kBridge = "modeling_mixnmatch_mamba2_vision";

}  // namespace

nlohmann::json mamba2_vision_config(const NestedModel& model, const Widths& widths, Dtype dtype) {
  model.space.require(widths);
  const Mamba2VisionConfig config = parse_mamba2_vision_config(model.config, {});
  const Mamba2Config& blocks = config.blocks;
  const Widths kept = kept_widths(widths);
  nlohmann::json json = submodel_config(model.config, dtype);
  json["architectures"] = {kMamba2VisionClass};
  json["auto_map"] = {
      {"AutoConfig", fmt::format("{}.MixNMatchMamba2VisionConfig", kBridge)},
      {"AutoModelForImageClassification", fmt::format("{}.{}", kBridge, kMamba2VisionClass)}};
  json["model_type"] = kMamba2VisionModelType;
  json["d_model"] = blocks.hidden_size;
  json[kWidthsKey] = kept;
  json["n_classes"] = blocks.vocab_size;
  json["n_layer"] = kept.size();
  json["norm_epsilon"] = config.norm_eps;
  json["pool"] = config.class_token ? "cls" : "avg";
  json["residual_in_fp32"] = blocks.residual_in_fp32;
  json["rms_norm"] = !config.norm_bias;
  write_image_patches(config.image, json);
  write_granularities(model.space, widths, json);
  write_may_skip(model.space, widths, json);
  return json;
}

std::map<std::string, std::string> mamba2_vision_bridge() {
  return {{fmt::format("{}.py", kBridge), std::string(modeling_mixnmatch_mamba2_vision)}};
}

}  // namespace mnm
