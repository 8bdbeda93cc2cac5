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
#include <vector>

#include "families/image_patches.h"
#include "families/nesting.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

inline constexpr const char* kVitModelType = "vit";
inline constexpr const char* kVitBridgeModelType = "mixnmatch_vit";
inline constexpr const char* kVitClass = "ViTForImageClassification";

enum class VitActivation : std::uint8_t {
  kGelu,      // "gelu": x * Phi(x), by erf
  kGeluTanh,  // "gelu_pytorch_tanh", "gelu_new": the tanh approximation, which MatViT has
};

struct VitConfig {
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
  std::int64_t positions() const { return image.patches() + 1; }  // the class token is the first
};

// Error names a key that is absent, of another type, out of range, or that asks for what is not
// computed here. UsageError if the user's granularities are wrong.
VitConfig parse_vit_config(const nlohmann::json& config, const Nesting& nesting);

}  // namespace mnm
