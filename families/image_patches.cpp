#include "families/image_patches.h"

#include <tuple>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

constexpr std::int64_t kMaxSide = 1 << 16;     // pixels
constexpr std::int64_t kMaxPatches = 1 << 20;  // more than any published model has, by far

// Height and width of a key that is a number or a pair.
std::pair<std::int64_t, std::int64_t> pair_of(const ConfigReader& keys, const char* key,
                                              std::int64_t absent) {
  const nlohmann::json* const value = keys.find(key);
  if (value == nullptr) return {absent, absent};
  if (!value->is_array()) {
    const std::int64_t side = keys.size(key, kMaxSide);
    return {side, side};
  }
  const auto side = [&](std::size_t i) {
    const nlohmann::json& item = value->at(i);
    if (!item.is_number_integer() || item.get<double>() < 1 || item.get<double>() > kMaxSide) {
      fail("{} is {}, expected sides of 1 to {} pixels", keys.name(key), shown(*value), kMaxSide);
    }
    return item.get<std::int64_t>();
  };
  if (value->size() != 2) fail("{} is {}, expected one or two", keys.name(key), shown(*value));
  return {side(0), side(1)};
}

nlohmann::json sides(std::int64_t height, std::int64_t width) {
  if (height == width) return height;
  return {height, width};
}

}  // namespace

ImagePatches read_image_patches(const ConfigReader& keys, std::int64_t absent_patch) {
  ImagePatches image;
  image.channels = keys.optional_size("num_channels", 4).value_or(3);
  std::tie(image.height, image.width) = pair_of(keys, "image_size", 224);
  std::tie(image.patch_height, image.patch_width) = pair_of(keys, "patch_size", absent_patch);
  if (image.height % image.patch_height != 0 || image.width % image.patch_width != 0) {
    fail("image_size {} x {} is no multiple of patch_size {} x {}", image.height, image.width,
         image.patch_height, image.patch_width);
  }
  if (image.patches() >= kMaxPatches) {
    fail("image_size and patch_size make {} patches, expected at most {}", image.patches(),
         kMaxPatches - 1);
  }
  return image;
}

void write_image_patches(const ImagePatches& image, nlohmann::json& config) {
  config["num_channels"] = image.channels;
  config["image_size"] = sides(image.height, image.width);
  config["patch_size"] = sides(image.patch_height, image.patch_width);
}

}  // namespace mnm
