// Resizing, equal to Pillow's Image.resize to the bit.
//
// The algorithm is that of Pillow's Resample.c. When a picture shrinks, the filter is stretched to
// the scale, so nothing aliases. Weights are computed in f64 and rounded to 22 bits behind the
// point. There are two passes: every row gets its new number of columns, then every column its new
// number of rows. Pixels are rounded to 8 bits after each pass, so their order matters: since
// Pillow 13 columns come first if the picture loses more than twice as many rows as columns. A pass
// that changes nothing is left out.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "image/image.h"

namespace mnm {

enum class ResizeFilter : std::uint8_t { kBox, kBilinear, kBicubic, kLanczos };
// In the order of the enumeration.
inline constexpr std::string_view kResizeFilters[] = {"box", "bilinear", "bicubic", "lanczos"};
ResizeFilter parse_resize_filter(std::string_view name);  // UsageError names the filters
std::string_view to_string(ResizeFilter filter);

// Rows and columns of a picture: [top, top + extent.height), [left, left + extent.width).
struct Window {
  std::int64_t top = 0, left = 0;
  Extent extent;
};

// The part of the resized picture that lies in `window`, which is within `size`. Only this part is
// computed, so a crop costs less than the whole. `size` has at least one pixel.
Image resize(const Image& image, const Extent& size, ResizeFilter filter, const Window& window);

}  // namespace mnm
