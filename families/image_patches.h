// How a model of images cuts one into patches, as the config says.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "families/config_reader.h"

namespace mnm {

struct ImagePatches {
  std::int64_t channels = 3;
  std::int64_t height = 0, width = 0;              // of an image, in pixels
  std::int64_t patch_height = 0, patch_width = 0;  // which divide them

  std::int64_t rows() const { return height / patch_height; }
  std::int64_t columns() const { return width / patch_width; }
  std::int64_t patches() const { return rows() * columns(); }
  std::int64_t elements() const { return channels * patch_height * patch_width; }  // of a patch
  std::vector<std::int64_t> shape() const { return {channels, height, width}; }
};

// num_channels (3 where absent), image_size (224) and patch_size (`absent_patch`): numbers, or
// [height, width]. Error names the key that is of another type or out of range, or says that
// patches do not divide the image.
ImagePatches read_image_patches(const ConfigReader& keys, std::int64_t absent_patch = 16);

// Writes the three keys as read_image_patches() reads them: one number for equal sides.
void write_image_patches(const ImagePatches& image, nlohmann::json& config);

}  // namespace mnm
