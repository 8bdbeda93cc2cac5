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

inline std::vector<std::pair<std::string, nlohmann::json>> tiny_vits() {
  return {{"plain", tiny_vit()},
          {"tanh", tiny_vit({{"hidden_act", "gelu_pytorch_tanh"}, {"layer_norm_eps", 1e-6}})},
          {"unbiased", tiny_vit({{"qkv_bias", false}})},
          {"oblong", tiny_vit({{"image_size", {8, 12}}, {"patch_size", {4, 3}}})},
          {"grey", tiny_vit({{"num_channels", 1}, {"num_attention_heads", 1}})},
          {"distilled", tiny_vit({{"model_type", "deit"},
                                  {"architectures", {"DeiTForImageClassificationWithTeacher"}}})},
          {"skipping", tiny_vit({{"mixnmatch_may_skip", {1, 2}}})}};
}

}  // namespace mnm::test
