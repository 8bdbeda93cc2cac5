#include "families/mamba2_vision/config.h"

#include <string>

#include "base/error.h"
#include "families/config_reader.h"

namespace mnm {

bool is_mamba2_vision_config(const nlohmann::json& config) {
  const auto type = config.find("model_type");
  if (type != config.end()) return *type == kMamba2VisionModelType;
  return config.contains("d_model") && config.contains("n_layer") && is_image_config(config);
}

Mamba2VisionConfig parse_mamba2_vision_config(const nlohmann::json& json, const Nesting& nesting) {
  const ConfigReader keys(json);
  Mamba2VisionConfig config;
  config.blocks = parse_mamba_ssm_blocks(json, nesting, keys.size("n_classes"));
  config.image = read_image_patches(keys, nesting.image_size);
  config.norm_bias = !keys.flag("rms_norm", false);
  config.norm_eps = keys.positive("norm_epsilon").value_or(1e-5);
  const std::string pool = keys.text("pool").value_or("cls");
  if (pool != "cls" && pool != "avg") fail("pool is '{}', expected cls or avg", pool);
  config.class_token = pool == "cls";
  return config;
}

bool reads_last_token_alone(const Mamba2VisionConfig& config, const NestedModel& model) {
  return config.class_token && config.blocks.groups == 1 && !model.space.layers.back().may_skip;
}

}  // namespace mnm
