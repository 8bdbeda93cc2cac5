// A vision transformer's config.json (transformers' ViTConfig, DeiTConfig, Dinov2Config and
// Dinov2WithRegistersConfig), resolved and checked. Ours for nested models:
//   matformer_granularities  [384, 768, 1536, 3072], or one such list per layer
//   matformer_widths         the full MLP width of every layer if they differ, as in a submodel of
//                            mixed widths; the widest is intermediate_size, or what mlp_ratio
//                            rounds up
//   mixnmatch_compensated    a width makes up for what it leaves out (families/compensation.h)
//   mixnmatch_image_size     the side of the images that are computed (families/image_patches.h)
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

// What several kinds have in common.
struct VitStyle {
  std::string_view norm_before, norm_after, fc1, fc2;  // a layer's parts, by their names
  double layer_norm_eps;                               // where the config is silent
  // What attention and MLP add to the states is multiplied by a vector each (layer scale: Touvron
  // et al., arXiv 2103.17239).
  bool layer_scale = false;
  // The MLP's width is stated as mlp_ratio, a whole multiple of hidden_size.
  bool mlp_ratio = false;
  // One head reads the class token and, beside it, the mean of the patches. Else each of the first
  // tokens is read, by a head of its own.
  bool reads_patches = false;
  bool mask_token = false;  // a tensor that pretraining alone reads, unless use_mask_token is false
};
inline constexpr VitStyle kVitStyle = {"layernorm_before", "layernorm_after", "intermediate.dense",
                                       "output.dense", 1e-12};
// Oquab et al., "DINOv2" (arXiv 2304.07193).
inline constexpr VitStyle kDinov2Style = {"norm1", "norm2", "mlp.fc1", "mlp.fc2", 1e-6,
                                          true,    true,    true,      true};

struct VitKind {
  std::string_view model_type, bridge_model_type;
  std::string_view class_name;
  std::string_view root;    // what names of tensors begin with
  std::string_view config;  // the bridge's class of the config
  const VitStyle& style;
  std::int64_t patch = 16;  // pixels of a side, where the config is silent
  // Besides the class token there is a distillation token, the second one, with a head of its own.
  // The logits are the mean of both heads' (Touvron et al., arXiv 2012.12877).
  bool distilled = false;
  // After the class token come num_register_tokens, which have no positions (Darcet et al., arXiv
  // 2309.16588).
  bool registers = false;
};
inline constexpr VitKind kVitKinds[] = {
    {"vit", "mixnmatch_vit", "ViTForImageClassification", "vit.", "MixNMatchViTConfig", kVitStyle},
    {"deit", "mixnmatch_deit", "DeiTForImageClassificationWithTeacher", "deit.",
     "MixNMatchDeiTConfig", kVitStyle, 16, true},
    {"dinov2", "mixnmatch_dinov2", "Dinov2ForImageClassification", "dinov2.",
     "MixNMatchDinov2Config", kDinov2Style, 14},
    {"dinov2_with_registers", "mixnmatch_dinov2_with_registers",
     "Dinov2WithRegistersForImageClassification", "dinov2_with_registers.",
     "MixNMatchDinov2WithRegistersConfig", kDinov2Style, 16, false, true},
};
// By model_type, the bridge's too; nullptr if it is none of them.
const VitKind* vit_kind(const nlohmann::json& config);

enum class VitActivation : std::uint8_t {
  kGelu,      // families/gelu_names.h: by erf
  kGeluTanh,  // and the tanh approximation, which MatViT has
};

struct VitConfig {
  const VitKind* kind = &kVitKinds[0];
  std::int64_t layers = 0;
  std::int64_t hidden_size = 0;
  std::int64_t heads = 0;
  std::int64_t classes = 0;
  std::int64_t registers = 0;
  ImagePatches image;
  bool mask_token = false;
  bool qkv_bias = true;
  bool compensated = false;
  double layer_norm_eps = 0;
  double initializer_range = 0.02;  // standard deviation of fresh weights
  double layer_scale_start = 1;     // layer scale of a fresh model
  VitActivation activation = VitActivation::kGelu;
  std::string hidden_act;  // as the config spells it
  Dtype dtype = Dtype::kF32;
  std::vector<std::vector<Width>> granularities;  // [layers], ascending, to the full width

  Width full_width(std::size_t layer) const { return granularities[layer].back(); }
  std::int64_t head_dim() const { return hidden_size / heads; }
  // The tokens before the patches: those with positions come first.
  std::int64_t first_tokens() const { return positioned_tokens() + registers; }
  std::int64_t positioned_tokens() const { return kind->distilled ? 2 : 1; }
  std::int64_t positions() const { return first_tokens() + image.patches(); }
  // How many tokens, from the first on, are read after the last layer.
  std::int64_t read_tokens() const {
    return kind->style.reads_patches ? positions() : first_tokens();
  }
  std::int64_t head_columns() const { return (kind->style.reads_patches ? 2 : 1) * hidden_size; }
  std::string name(std::string_view of) const { return std::string(kind->root) + std::string(of); }
  // The tensors of the first tokens, in their order: {1, tokens, d} each.
  std::vector<std::string> first_token_names() const {
    std::vector<std::string> names = {name("embeddings.cls_token")};
    if (kind->distilled) names.push_back(name("embeddings.distillation_token"));
    if (kind->registers) names.push_back(name("embeddings.register_tokens"));
    return names;
  }
  // Where the parts of a layer's names begin: "vit.encoder.layer.3.".
  std::string layer_name(std::int64_t layer) const {
    return name("encoder.layer." + std::to_string(layer) + ".");
  }
  // The heads' names.
  std::vector<std::string> heads_of_classes() const {
    if (kind->distilled) return {"cls_classifier", "distillation_classifier"};
    return {"classifier"};
  }
};

// Writes the key that says the MLP's width, from which matformer_widths takes the layers' own: a
// mlp_ratio is rounded up.
void write_vit_width(const VitKind& kind, std::int64_t hidden_size, Width widest,
                     nlohmann::json& config);

// Error names a key that is absent, of another type, out of range, or that asks for what is not
// computed here. UsageError if the user's granularities are wrong.
VitConfig parse_vit_config(const nlohmann::json& config, const Nesting& nesting);

}  // namespace mnm
