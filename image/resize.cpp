#include "image/resize.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "base/error.h"

namespace mnm {
namespace {

constexpr int kBits = 22;  // of a weight behind the point

double box(double x) { return x > -0.5 && x <= 0.5 ? 1 : 0; }
double bilinear(double x) { return std::abs(x) < 1 ? 1 - std::abs(x) : 0; }
double bicubic(double x) {
  constexpr double kSharpness = -0.5;
  x = std::abs(x);
  if (x < 1) return ((kSharpness + 2) * x - (kSharpness + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kSharpness;
  return 0;
}
double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}
double lanczos(double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

struct Kernel {
  double (*at)(double) = nullptr;
  double support = 0;  // it is 0 farther away
};

Kernel kernel_of(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::kBox:
      return {box, 0.5};
    case ResizeFilter::kBilinear:
      return {bilinear, 1};
    case ResizeFilter::kBicubic:
      return {bicubic, 2};
    case ResizeFilter::kLanczos:
      return {lanczos, 3};
  }
  fail("resize filter without a kernel");
}

// What one output pixel is made of: `count` pixels from `first` on.
struct Taps {
  std::int64_t first = 0, count = 0;
  std::size_t weights = 0;  // where they begin
};

struct Weights {
  std::vector<Taps> taps;           // [of the window]
  std::vector<std::int32_t> fixed;  // in units of 2^-kBits
};

// For output pixels [begin, begin + count) of `to`, out of `from` pixels.
Weights weights_of(std::int64_t from, std::int64_t to, ResizeFilter filter, std::int64_t begin,
                   std::int64_t count) {
  const Kernel kernel = kernel_of(filter);
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0), support = kernel.support * stretch;
  Weights weights;
  std::vector<double> raw;
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
    const auto end =
        std::min<std::int64_t>(static_cast<std::int64_t>(center + support + 0.5), from);
    raw.clear();
    double sum = 0;
    for (std::int64_t x = 0; x < end - first; ++x) {
      const double distance = static_cast<double>(x + first) - center + 0.5;
      raw.push_back(kernel.at(distance * (1 / stretch)));
      sum += raw.back();
    }
    weights.taps.push_back({first, end - first, weights.fixed.size()});
    for (double weight : raw) {
      if (sum != 0) weight /= sum;
      const double units = weight * (1 << kBits);
      weights.fixed.push_back(static_cast<std::int32_t>(units < 0 ? units - 0.5 : units + 0.5));
    }
  }
  return weights;
}

std::uint8_t rounded(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255));
}

template <int kChannels>
void resize_row(const std::uint8_t* from, const Weights& weights, std::uint8_t* to) {
  for (const Taps& taps : weights.taps) {
    const std::int32_t* const weight = weights.fixed.data() + taps.weights;
    const std::uint8_t* pixel = from + taps.first * kChannels;
    std::int32_t sums[kChannels];
    std::fill_n(sums, kChannels, 1 << (kBits - 1));
    for (std::int64_t i = 0; i < taps.count; ++i, pixel += kChannels) {
      for (int c = 0; c < kChannels; ++c) sums[c] += pixel[c] * weight[i];
    }
    for (int c = 0; c < kChannels; ++c) *to++ = rounded(sums[c]);
  }
}

// What is read of one side.
struct Used {
  std::int64_t first = 0, count = 0;
};

Used used_by(const Weights& weights) {
  if (weights.taps.empty()) return {};
  const Taps &front = weights.taps.front(), &back = weights.taps.back();
  return {front.first, back.first + back.count - front.first};
}

void shift(Weights& weights, std::int64_t by) {
  for (Taps& taps : weights.taps) taps.first -= by;
}

// These rows of the picture, with the columns that the weights make.
Image resize_rows(const Image& image, const Weights& weights, const Used& rows) {
  const auto columns = static_cast<std::int64_t>(weights.taps.size());
  Image out = blank_image({rows.count, columns}, image.channels);
  for (std::int64_t y = 0; y < rows.count; ++y) {
    if (image.channels == 1) {
      resize_row<1>(image.row(rows.first + y), weights, out.row(y));
    } else {
      resize_row<3>(image.row(rows.first + y), weights, out.row(y));
    }
  }
  return out;
}

// These columns of the picture, with the rows that the weights make.
Image resize_columns(const Image& image, const Weights& weights, const Used& columns) {
  const std::int64_t bytes = columns.count * image.channels;
  const auto rows = static_cast<std::int64_t>(weights.taps.size());
  Image out = blank_image({rows, columns.count}, image.channels);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(bytes));
  for (std::int64_t y = 0; y < rows; ++y) {
    const Taps& taps = weights.taps[static_cast<std::size_t>(y)];
    std::ranges::fill(sums, 1 << (kBits - 1));
    for (std::int64_t i = 0; i < taps.count; ++i) {
      const std::uint8_t* const from = image.row(taps.first + i) + columns.first * image.channels;
      const std::int32_t weight = weights.fixed[taps.weights + static_cast<std::size_t>(i)];
      std::int32_t* const to = sums.data();
      for (std::int64_t x = 0; x < bytes; ++x) to[x] += from[x] * weight;
    }
    std::transform(sums.begin(), sums.end(), out.row(y), rounded);
  }
  return out;
}

Image cropped(const Image& image, const Window& window) {
  Image out = blank_image(window.extent, image.channels);
  for (std::int64_t y = 0; y < window.extent.height; ++y) {
    std::copy_n(image.row(window.top + y) + window.left * image.channels,
                window.extent.width * image.channels, out.row(y));
  }
  return out;
}

}  // namespace

ResizeFilter parse_resize_filter(std::string_view name) {
  const auto* const found = std::ranges::find(kResizeFilters, name);
  if (found == std::end(kResizeFilters)) {
    fail_usage("there is no resize filter '{}': expected one of {}", name,
               fmt::join(kResizeFilters, ", "));
  }
  return static_cast<ResizeFilter>(found - std::begin(kResizeFilters));
}

std::string_view to_string(ResizeFilter filter) {
  return kResizeFilters[static_cast<std::size_t>(filter)];
}

Image resize(const Image& image, const Extent& size, ResizeFilter filter, const Window& window) {
  const auto& [height, width] = image.extent;
  Weights down, across;
  if (size.height != height) {
    down = weights_of(height, size.height, filter, window.top, window.extent.height);
  }
  if (size.width != width) {
    across = weights_of(width, size.width, filter, window.left, window.extent.width);
  }
  if (size.height == height && size.width == width) return cropped(image, window);
  if (size.width == width) return resize_columns(image, down, {window.left, window.extent.width});
  if (size.height == height) return resize_rows(image, across, {window.top, window.extent.height});
  const std::int64_t fewer_rows = height - size.height, fewer_columns = width - size.width;
  if (fewer_rows > 0 && fewer_rows > 2 * fewer_columns) {
    const Used columns = used_by(across);
    shift(across, columns.first);
    return resize_rows(resize_columns(image, down, columns), across, {0, window.extent.height});
  }
  const Used rows = used_by(down);
  shift(down, rows.first);
  return resize_columns(resize_rows(image, across, rows), down, {0, window.extent.width});
}

}  // namespace mnm
