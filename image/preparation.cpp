#include "image/preparation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace mnm {
namespace {

// How many pixels are left out before a crop of `want` out of `have`; negative: how many zeros come
// before them.
std::int64_t crop_begin(std::int64_t have, std::int64_t want, Convention convention) {
  const std::int64_t rest = have - want, half = rest / 2;
  if (rest % 2 == 0) return half;
  if (convention == Convention::kTransformers) return rest > 0 ? half : half - 1;
  return rest > 0 ? half + half % 2 : half;
}

Extent resized(const Extent& have, const Preparation& preparation) {
  if (preparation.fit == Fit::kKeep) return have;
  if (preparation.fit == Fit::kSquash) return preparation.size;
  const auto longer = [&](std::int64_t short_side, std::int64_t long_side) {
    // No picture has such a side, and no f64 below it loses a pixel.
    constexpr double kEndless = 1e15;
    std::int64_t product = 0;
    if (__builtin_mul_overflow(preparation.size.height, long_side, &product)) {
      return static_cast<std::int64_t>(kEndless);
    }
    const double side = static_cast<double>(product) / static_cast<double>(short_side);
    return static_cast<std::int64_t>(std::min(side, kEndless));
  };
  if (have.width <= have.height) {
    return {longer(have.width, have.height), preparation.size.height};
  }
  return {preparation.size.height, longer(have.height, have.width)};
}

// Where a crop reads along one side, and where it writes that.
struct Overlap {
  std::int64_t from = 0, to = 0, count = 0;
};

Overlap overlap(std::int64_t have, std::int64_t want, Convention convention) {
  const std::int64_t begin = crop_begin(have, want, convention);
  const std::int64_t from = std::max<std::int64_t>(begin, 0);
  const std::int64_t to = std::max<std::int64_t>(-begin, 0);
  return {from, to, std::min(have - from, want - to)};
}

}  // namespace

Convention parse_convention(std::string_view name) {
  const auto* const found = std::ranges::find(kConventions, name);
  if (found == std::end(kConventions)) {
    fail_usage("there is no convention '{}': expected one of {}", name,
               fmt::join(kConventions, ", "));
  }
  return static_cast<Convention>(found - std::begin(kConventions));
}

std::string_view to_string(Convention convention) {
  return kConventions[static_cast<std::size_t>(convention)];
}

std::optional<Extent> Preparation::output() const {
  if (crop) return crop;
  if (fit == Fit::kSquash) return size;
  return std::nullopt;
}

std::string Preparation::text() const {
  std::string text;
  if (fit == Fit::kKeep) text = "size kept";
  if (fit == Fit::kShortest) {
    text = fmt::format("shorter side to {} ({})", size.height, to_string(filter));
  }
  if (fit == Fit::kSquash) {
    text = fmt::format("squashed to {} x {} ({})", size.width, size.height, to_string(filter));
  }
  if (crop) text += fmt::format(", crop {} x {}", crop->width, crop->height);
  return text + fmt::format(", as {}", to_string(convention));
}

void check(const Preparation& preparation, std::int64_t max_pixels) {
  const auto require = [&](const Extent& extent, std::string_view what) {
    if (extent.height > kLargestSide || extent.width > kLargestSide ||
        exceeds(extent, max_pixels)) {
      fail("cannot {} images to {} x {} pixels: expected sides of 1 to {}, and at most {} in all",
           what, extent.width, extent.height, kLargestSide, max_pixels);
    }
  };
  if (preparation.fit != Fit::kKeep) require(preparation.size, "resize");
  if (preparation.crop) require(*preparation.crop, "crop");
}

Image prepare(const Image& image, const Preparation& preparation, const std::string& name,
              std::int64_t max_pixels) {
  check(preparation, max_pixels);
  const Extent size = resized(image.extent, preparation);
  if (exceeds(size, max_pixels)) {
    fail("cannot resize {}: of {} x {} pixels it would become {} x {}, the limit is {} in all",
         name, image.extent.width, image.extent.height, size.width, size.height, max_pixels);
  }
  const Extent crop = preparation.crop.value_or(size);
  const Overlap rows = overlap(size.height, crop.height, preparation.convention);
  const Overlap columns = overlap(size.width, crop.width, preparation.convention);
  const Window window{rows.from, columns.from, {rows.count, columns.count}};
  Image part = resize(image, size, preparation.filter, window);
  if (window.extent == crop) return part;
  Image out = blank_image(crop, image.channels);
  for (std::int64_t y = 0; y < rows.count; ++y) {
    std::copy_n(part.row(y), columns.count * image.channels,
                out.row(rows.to + y) + columns.to * image.channels);
  }
  return out;
}

}  // namespace mnm
