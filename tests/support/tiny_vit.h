// Tiny configs of vision transformers, one for each thing that may differ.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace mnm::test {

inline nlohmann::json tiny_vit(const nlohmann::json& changes = nlohmann::json::object()) {
  nlohmann::json config = {{"model_type", "vit"},
                           {"architectures", {"ViTForImageClassification"}},
                           {"hidden_size", 24},
                           {"num_hidden_layers", 3},
                           {"num_attention_heads", 4},
                           {"intermediate_size", 40},
                           {"image_size", 12},
                           {"patch_size", 4},
                           {"num_channels", 3},
                           {"matformer_granularities", {8, 16, 40}},
                           {"id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}, {"3", "d"}}}};
  config.update(changes);
  return config;
}

// With registers if asked for. Its full width is 48.
inline nlohmann::json tiny_dinov2(bool registers = false,
                                  const nlohmann::json& changes = nlohmann::json::object()) {
  nlohmann::json config = tiny_vit(
      {{"model_type", registers ? "dinov2_with_registers" : "dinov2"},
       {"architectures",
        {registers ? "Dinov2WithRegistersForImageClassification" : "Dinov2ForImageClassification"}},
       {"mlp_ratio", 2},
       {"matformer_granularities", {8, 16, 48}}});
  config.erase("intermediate_size");
  if (registers) config["num_register_tokens"] = 2;
  config.update(changes);
  return config;
}

inline std::vector<std::pair<std::string, nlohmann::json>> tiny_vits() {
  return {{"plain", tiny_vit()},
          {"tanh", tiny_vit({{"hidden_act", "gelu_pytorch_tanh"}, {"layer_norm_eps", 1e-6}})},
          {"unbiased", tiny_vit({{"qkv_bias", false}})},
          {"oblong", tiny_vit({{"image_size", {8, 12}}, {"patch_size", {4, 3}}})},
          {"grey", tiny_vit({{"num_channels", 1}, {"num_attention_heads", 1}})},
          {"distilled", tiny_vit({{"model_type", "deit"},
                                  {"architectures", {"DeiTForImageClassificationWithTeacher"}}})},
          {"skipping", tiny_vit({{"mixnmatch_may_skip", {1, 2}}})},
          {"dinov2", tiny_dinov2()},
          {"unmasked", tiny_dinov2(false, {{"use_mask_token", false}, {"qkv_bias", false}})},
          {"registers", tiny_dinov2(true, {{"mixnmatch_may_skip", {1, 2}}})}};
}

// Of 12 x 12 pixels, for images of another size. transformers resizes positions of DINOv2 unasked.
inline std::vector<std::pair<std::string, nlohmann::json>> resized_vits() {
  const nlohmann::json larger = {{"mixnmatch_image_size", 20}},
                       smaller = {{"mixnmatch_image_size", 8}};
  return {
      {"larger", tiny_vit(larger)},
      {"smaller", tiny_vit(smaller)},
      {"distilled_larger", tiny_vit({{"model_type", "deit"},
                                     {"architectures", {"DeiTForImageClassificationWithTeacher"}},
                                     {"mixnmatch_image_size", 20}})},
      {"dinov2_larger", tiny_dinov2(false, larger)},
      {"dinov2_smaller", tiny_dinov2(false, smaller)},
      {"registers_larger", tiny_dinov2(true, larger)},
      {"registers_smaller", tiny_dinov2(true, smaller)}};
}

}  // namespace mnm::test
