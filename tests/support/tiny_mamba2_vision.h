// Tiny configs of MatMamba-Vision, one for each thing that may differ, and weights for them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/nested_model.h"
#include "tests/support/tensors.h"

namespace mnm::test {

// Keys as the authors' code writes them, but for the granularities and the channels.
inline nlohmann::json tiny_mamba2_vision(const nlohmann::json& changes = nlohmann::json::object()) {
  nlohmann::json config = {{"d_model", 16},
                           {"n_layer", 3},
                           {"d_intermediate", 0},
                           {"n_classes", 4},
                           {"patch_size", 4},
                           {"image_size", 12},
                           {"ssm_cfg", {{"layer", "Mamba2"}, {"headdim", 4}, {"d_state", 6}}},
                           {"attn_layer_idx", nlohmann::json::array()},
                           {"attn_cfg", nlohmann::json::object()},
                           {"norm_epsilon", 1e-5},
                           {"rms_norm", false},
                           {"initializer_cfg", nlohmann::json::object()},
                           {"fused_add_norm", true},
                           {"residual_in_fp32", true},
                           {"drop_rate", 0.0},
                           {"drop_path_rate", 0.1},
                           {"proj_drop_rate", 0.1},
                           {"pool", "cls"},
                           {"device", nullptr},
                           {"dtype", nullptr},
                           {"matformer_granularities", {4, 8, 16}}};
  config.update(changes);
  return config;
}

inline std::vector<std::pair<std::string, nlohmann::json>> tiny_mamba2_visions() {
  const nlohmann::json biased = {
      {"layer", "Mamba2"}, {"headdim", 8}, {"d_state", 5}, {"bias", true}, {"conv_bias", false}};
  return {{"plain", tiny_mamba2_vision()},
          {"mean", tiny_mamba2_vision({{"pool", "avg"}})},
          {"rms", tiny_mamba2_vision({{"rms_norm", true}, {"norm_epsilon", 1e-3}})},
          {"biased", tiny_mamba2_vision({{"ssm_cfg", biased}})},
          {"matmamba", tiny_mamba2_vision({{"d_model", 32},
                                           {"ssm_cfg", {{"d_state", 6}, {"d_conv", 3}}},
                                           {"matformer_granularities", {4, 8, 16, 32}}})},
          {"oblong", tiny_mamba2_vision(
                         {{"image_size", {8, 12}}, {"patch_size", {4, 3}}, {"num_channels", 1}})},
          {"resized", tiny_mamba2_vision({{"mixnmatch_image_size", 20}})},
          {"skipping", tiny_mamba2_vision({{"mixnmatch_may_skip", {1, 2}}})}};
}

// Products have a spread that keeps activations near 1, norms and D lie around 1; time steps of
// 0.05 to 2 and decays of 1 to 8 make states that forget within some tokens.
inline std::vector<TestTensor> mamba2_vision_tensors(const NestedModel& model, std::uint32_t seed) {
  std::vector<TestTensor> tensors;
  for (const TensorSpec& spec : model.table.tensors) {
    float scale = 0.4f, centre = 0;
    if (spec.norm_groups > 0 || spec.name.ends_with(".D")) centre = 1;
    if (spec.name.ends_with("dt_bias")) scale = 1.5f, centre = -1;
    if (spec.name.ends_with("A_log")) scale = centre = 1;
    tensors.push_back(random_tensor(spec.name, spec.shape, seed++, scale, Dtype::kF32, centre));
  }
  return tensors;
}

}  // namespace mnm::test
