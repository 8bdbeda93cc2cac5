#include "families/image_patches.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

constexpr std::int64_t kMaxSide = 1 << 16;  // pixels
constexpr std::int64_t kAbsentSize = 224;
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

// To images of that side. `asked`: by the user, else by kImageSizeKey.
void resize(std::int64_t side, bool asked, ImagePatches& image) {
  if (side == 0 || (side == image.height && side == image.width)) return;
  const auto refuse = [&](const std::string& why) {
    const std::string what =
        fmt::format("images of {0} x {0} pixels cannot be computed: {1}", side, why);
    if (asked) fail_usage("{}", what);
    fail("{}: {}", kImageSizeKey, what);
  };
  if (image.height != image.width || image.patch_height != image.patch_width) {
    refuse(fmt::format("the positions are of {} x {}, and only those of a square are resized",
                       image.height, image.width));
  }
  if (side % image.patch_height != 0) {
    refuse(fmt::format("patches of {0} x {0} do not divide them", image.patch_height));
  }
  if (side > kMaxSide) refuse(fmt::format("the largest side is {}", kMaxSide));
  image.height = image.width = side;
}

}  // namespace

ImagePatches read_image_patches(const ConfigReader& keys, std::int64_t side,
                                std::int64_t absent_patch) {
  ImagePatches image;
  image.channels = keys.optional_size("num_channels", 4).value_or(3);
  std::tie(image.height, image.width) = pair_of(keys, "image_size", kAbsentSize);
  std::tie(image.patch_height, image.patch_width) = pair_of(keys, "patch_size", absent_patch);
  image.learned_height = image.height;
  image.learned_width = image.width;
  if (image.height % image.patch_height != 0 || image.width % image.patch_width != 0) {
    fail("image_size {} x {} is no multiple of patch_size {} x {}", image.height, image.width,
         image.patch_height, image.patch_width);
  }
  resize(side > 0 ? side : keys.optional_size(kImageSizeKey, kMaxSide).value_or(0), side > 0,
         image);
  if (std::max(image.patches(), image.learned_patches()) >= kMaxPatches) {
    fail("image_size and patch_size make {} patches, expected at most {}", image.patches(),
         kMaxPatches - 1);
  }
  return image;
}

void write_image_patches(const ImagePatches& image, nlohmann::json& config) {
  config["num_channels"] = image.channels;
  config["image_size"] = sides(image.learned_height, image.learned_width);
  config["patch_size"] = sides(image.patch_height, image.patch_width);
}

std::string resized_positions_text(const NestedModel& model) {
  if (model.reads_tokens() || !model.config.contains(kImageSizeKey)) return "";
  const auto [height, width] = pair_of(ConfigReader(model.config), "image_size", kAbsentSize);
  const std::int64_t to_height = model.input.shape[1], to_width = model.input.shape[2];
  if (height == to_height && width == to_width) return "";
  return fmt::format("positions of {} x {} pixels are resized to {} x {}", height, width, to_height,
                     to_width);
}

}  // namespace mnm
