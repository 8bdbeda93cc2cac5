// The config.json of MatMamba-Vision, resolved and checked. Its authors write these keys, and no
// model_type:
//   d_model, n_layer, ssm_cfg    the blocks, as in mamba_ssm (families/mamba2/config.h)
//   n_classes, image_size, patch_size
//   rms_norm, norm_epsilon       of the norms before the blocks and the last one: LayerNorm with a
//                                bias, 1e-5, where they are absent. The norm inside a block is
//                                another: RMS, 1e-5
//   pool                         "cls", the class token, or "avg", the mean of the patches
// These keys are ours. The authors' code does not take them:
//   matformer_granularities, matformer_widths, mixnmatch_may_skip, mixnmatch_image_size
//   num_channels                 of an image, 3 where it is absent
//   model_type                   as an export states it
// Shukla et al., "MatMamba" (arXiv 2410.06718), sec. 4.1; github.com/ScaledFoundations/MatMamba,
// matmamba/matmamba2_vision.py.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "families/image_patches.h"
#include "families/mamba2/config.h"
#include "families/nesting.h"
#include "model/nested_model.h"

namespace mnm {

inline constexpr const char* kMamba2VisionModelType = "mixnmatch_mamba2_vision";
inline constexpr const char* kMamba2VisionClass = "MixNMatchMamba2VisionForImageClassification";

struct Mamba2VisionConfig {
  Mamba2Config blocks;  // vocab_size is the number of classes
  ImagePatches image;
  bool norm_bias = true;    // LayerNorm; else RMSNorm
  double norm_eps = 1e-5;   // of the norms before the blocks and the last one
  bool class_token = true;  // pool: else the mean of the patches

  std::int64_t positions() const { return image.patches() + 1; }  // the class token is the last
};

bool is_mamba2_vision_config(const nlohmann::json& config);

// Errors as parse_mamba2_config() has them.
Mamba2VisionConfig parse_mamba2_vision_config(const nlohmann::json& config, const Nesting& nesting);

// Whether the last layer computes its output for the last token, the class token, alone. Nothing
// reads the others.
bool reads_last_token_alone(const Mamba2VisionConfig& config, const NestedModel& model);

}  // namespace mnm
