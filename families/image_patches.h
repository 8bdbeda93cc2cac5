// How a model of images cuts one into patches, and the images that its learned positions are of.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "families/config_reader.h"
#include "model/nested_model.h"

namespace mnm {

// The side in pixels of images that are computed, where it is not image_size.
inline constexpr const char* kImageSizeKey = "mixnmatch_image_size";

struct ImagePatches {
  std::int64_t channels = 3;
  std::int64_t height = 0, width = 0;              // of an image, in pixels
  std::int64_t patch_height = 0, patch_width = 0;  // which divide them
  // Of the images that the positions were learned of: image_size. Where they are others, positions
  // are resized as transformers does it (families/bicubic.h).
  std::int64_t learned_height = 0, learned_width = 0;
  bool antialias = false;  // when they are resized

  std::int64_t rows() const { return height / patch_height; }
  std::int64_t columns() const { return width / patch_width; }
  std::int64_t patches() const { return rows() * columns(); }
  std::int64_t elements() const { return channels * patch_height * patch_width; }  // of a patch
  std::int64_t learned_rows() const { return learned_height / patch_height; }
  std::int64_t learned_columns() const { return learned_width / patch_width; }
  std::int64_t learned_patches() const { return learned_rows() * learned_columns(); }
  bool resized() const { return height != learned_height || width != learned_width; }
  std::vector<std::int64_t> shape() const { return {channels, height, width}; }
};

// num_channels (3 where absent), image_size (224) and patch_size (`absent_patch`): numbers, or
// [height, width]. `side`, or else kImageSizeKey, is that of the images that are computed (0: as
// image_size says). Error names the key that is of another type or out of range, or says that
// patches do not divide the image. UsageError if `side` is at fault.
ImagePatches read_image_patches(const ConfigReader& keys, std::int64_t side,
                                std::int64_t absent_patch = 16);

// Writes the three keys as read_image_patches() reads them: one number for equal sides.
void write_image_patches(const ImagePatches& image, nlohmann::json& config);

// "positions of 518 x 518 pixels are resized to 224 x 224"; "" if they are not.
std::string resized_positions_text(const NestedModel& model);

}  // namespace mnm
