// How a picture becomes an input of a model's size: resized, then cropped, by the rules of the
// library that the model was evaluated with. The rules differ in where a crop begins and in what
// EXIF's orientation does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "image/image.h"
#include "image/resize.h"

namespace mnm {

enum class Convention : std::uint8_t {
  // transforms.Resize and CenterCrop on a PIL image. An odd rest is halved to the even neighbour.
  // Pictures stay as they are stored.
  kTorchvision,
  // timm's create_transform: torchvision's rules.
  kTimm,
  // Image processors of transformers with their PIL backend. An odd rest is halved downwards.
  // Pictures are turned upright, as load_image does.
  kTransformers,
};
inline constexpr std::string_view kConventions[] = {"torchvision", "timm", "transformers"};
Convention parse_convention(std::string_view name);  // UsageError names them
std::string_view to_string(Convention convention);

enum class Fit : std::uint8_t {
  kKeep,      // not resized
  kShortest,  // the shorter side becomes `size.height`; the longer keeps the shape, rounded down
  kSquash,    // becomes `size`, whatever its shape
};

struct Preparation {
  Convention convention = Convention::kTorchvision;
  Fit fit = Fit::kKeep;
  Extent size;                   // what `fit` says; kShortest: height and width are equal
  std::optional<Extent> crop{};  // around the centre, after that; zeros around a smaller picture
  ResizeFilter filter = ResizeFilter::kBilinear;
  std::int64_t channels = 3;

  bool upright() const { return convention == Convention::kTransformers; }
  // What every picture becomes; nothing where that depends on the picture.
  std::optional<Extent> output() const;
  std::string text() const;  // "shorter side to 256 (bicubic), crop 224 x 224, as timm"
};

// Error if a side that is asked for is not of 1 to kLargestSide pixels, or if every picture would
// have more than `max_pixels`.
void check(const Preparation& preparation, std::int64_t max_pixels);

// Error, which names the picture `name`, if it would have more than `max_pixels` once resized or
// cropped.
Image prepare(const Image& image, const Preparation& preparation, const std::string& name,
              std::int64_t max_pixels = kMaxPixels);

}  // namespace mnm
