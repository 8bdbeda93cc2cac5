// A vision transformer's config.json (transformers' ViTConfig), resolved and checked. Ours for
// nested models:
//   matformer_granularities  [384, 768, 1536, 3072], or one such list per layer
//   matformer_widths         the full MLP width of every layer if they differ, as in a submodel of
//                            mixed widths; the widest is intermediate_size
//   mixnmatch_may_skip       the layers that may be left out (families/may_skip.h)
// Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv 2010.11929), sec. 3.1.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "families/image_patches.h"
#include "families/nesting.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

// Models that differ by their first tokens and their heads.
struct VitKind {
  std::string_view model_type, bridge_model_type;
  std::string_view class_name;
  std::string_view root;    // what names of tensors begin with
  std::string_view config;  // the bridge's class of the config
  // Besides the class token there is a distillation token, the second one, with a head of its own.
  // The logits are the mean of both heads' (Touvron et al., arXiv 2012.12877).
  bool distilled = false;
};
inline constexpr VitKind kVitKinds[] = {
    {"vit", "mixnmatch_vit", "ViTForImageClassification", "vit.", "MixNMatchViTConfig"},
    {"deit", "mixnmatch_deit", "DeiTForImageClassificationWithTeacher", "deit.",
     "MixNMatchDeiTConfig", true},
};
// By model_type, the bridge's too; nullptr if it is none of them.
const VitKind* vit_kind(const nlohmann::json& config);

enum class VitActivation : std::uint8_t {
  kGelu,      // "gelu": x * Phi(x), by erf
  kGeluTanh,  // "gelu_pytorch_tanh", "gelu_new": the tanh approximation, which MatViT has
};

struct VitConfig {
  const VitKind* kind = &kVitKinds[0];
  std::int64_t layers = 0;
  std::int64_t hidden_size = 0;
  std::int64_t heads = 0;
  std::int64_t classes = 0;
  ImagePatches image;
  bool qkv_bias = true;
  double layer_norm_eps = 1e-12;
  double initializer_range = 0.02;  // standard deviation of fresh weights
  VitActivation activation = VitActivation::kGelu;
  std::string hidden_act;  // as the config spells it
  Dtype dtype = Dtype::kF32;
  std::vector<std::vector<Width>> granularities;  // [layers], ascending, to the full width

  Width full_width(std::size_t layer) const { return granularities[layer].back(); }
  std::int64_t head_dim() const { return hidden_size / heads; }
  std::int64_t read_tokens() const { return kind->distilled ? 2 : 1; }  // the first ones
  std::int64_t positions() const { return image.patches() + read_tokens(); }
  std::string name(std::string_view of) const { return std::string(kind->root) + std::string(of); }
  // The heads' names, one for each token that is read.
  std::vector<std::string> heads_of_classes() const {
    if (kind->distilled) return {"cls_classifier", "distillation_classifier"};
    return {"classifier"};
  }
};

// Error names a key that is absent, of another type, out of range, or that asks for what is not
// computed here. UsageError if the user's granularities are wrong.
VitConfig parse_vit_config(const nlohmann::json& config, const Nesting& nesting);

}  // namespace mnm
