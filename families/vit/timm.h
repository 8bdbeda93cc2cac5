// timm's vision transformers: the config.json of its models on the hub, and its names of tensors.
//
//   {"architecture": "vit_small_patch16_224", "num_classes": 1000, "global_pool": "token",
//    "model_args": {...}, "pretrained_cfg": {"input_size": [3, 224, 224], ...}}
//
// The architecture's name says the sizes, unless model_args (timm's arguments of
// VisionTransformer) say others. A name such as deit_tiny_distilled_patch16_224 is of a DeiT with
// the distillation token. LayerNorms have epsilon 1e-6. timm/models/vision_transformer.py, deit.py.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "families/vit/config.h"
#include "model/checkpoint.h"

namespace mnm {

inline constexpr double kTimmEpsilon = 1e-6;
inline constexpr const char* kTimmGeluTanh = "gelu_tanh";  // an act_layer; GELU by erf has no name

// Whether it is the config of a ViT or DeiT of timm's.
bool is_timm_vit(const nlohmann::json& config);

// The config in Hugging Face's spelling. It keeps "architecture", by which is_timm_vit() still
// knows it, and our own keys. Error names an architecture that is not known, or an argument that
// asks for what is not computed here: another pooling, no class token, registers, layer scale.
nlohmann::json vit_config_of_timm(const nlohmann::json& config);

// A name by which timm knows the kind of model. Where it knows one of those sizes, it says them.
std::string timm_architecture(const VitConfig& config);

// timm's names of the table's tensors that lie alike.
std::map<std::string, std::string> timm_names(const VitConfig& config);
// Query, key and value in the rows of timm's one matrix.
std::vector<InterleavedRows> timm_rows(const VitConfig& config);

}  // namespace mnm
