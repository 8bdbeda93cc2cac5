// How a checkpoint says that its pictures are prepared: preprocessor_config.json of transformers'
// image processors, or pretrained_cfg in the config.json of timm's hub models.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "dataset/pixel_scale.h"
#include "image/preparation.h"

namespace mnm {

struct Preprocessing {
  Preparation preparation;
  PixelScale pixels;
};

// Image processors with ViT's, DeiT's, DINOv2's or CLIP's rules, under their names with and without
// "Fast", or as a feature extractor. Absent keys have the defaults of that processor. Error, which
// begins with `what`, for another processor, and for a rule or filter that is not carried out here.
Preprocessing parse_preprocessor_config(const nlohmann::json& config, const std::string& what);

// timm: input_size, interpolation, crop_pct, crop_mode "center" or "squash", mean, std.
Preprocessing parse_pretrained_cfg(const nlohmann::json& config, const std::string& what);

// What parse_pretrained_cfg() reads as those rules, in timm's convention. A scale that is not 1 /
// 255 is put into mean and std. Error, which begins with `what`, if timm has no such rules: it
// always resizes both sides, or the shorter one, and then crops.
nlohmann::json pretrained_cfg_of(const Preprocessing& rules, const std::string& what);

// Of the directory of a checkpoint; nothing if neither file says anything.
std::optional<Preprocessing> read_preprocessing(const std::filesystem::path& directory);

}  // namespace mnm
