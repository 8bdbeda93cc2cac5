// A decoded picture, and how large one may be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mnm {

// Rows and columns of a picture, in pixels.
struct Extent {
  std::int64_t height = 0, width = 0;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// Pixels of 8 bits: rows from the top, columns from the left, channels beside each other.
struct Image {
  Extent extent;
  std::int64_t channels = 3;         // 3: red, green, blue; 1: grey
  std::vector<std::uint8_t> pixels;  // [height, width, channels]

  std::uint8_t* row(std::int64_t y) { return pixels.data() + y * extent.width * channels; }
  const std::uint8_t* row(std::int64_t y) const {
    return pixels.data() + y * extent.width * channels;
  }
};

// A picture of zeros.
Image blank_image(const Extent& extent, std::int64_t channels);

// The picture in so many channels, 1 or 3, as Pillow's convert("L") and convert("RGB") have it:
// grey is the rounded sum of 0.299 red, 0.587 green and 0.114 blue, in 16 bits behind the point.
Image in_channels(Image image, std::int64_t channels);

// Pixels beyond which Pillow takes a picture for a decompression bomb (twice its
// MAX_IMAGE_PIXELS).
inline constexpr std::int64_t kMaxPixels = 178'956'970;

// Pixels of a side that a picture can be asked to have.
inline constexpr std::int64_t kLargestSide = 1 << 16;

// Whether the area is more than `most`, without overflow, or a side is less than 1.
inline bool exceeds(const Extent& extent, std::int64_t most) {
  return extent.width < 1 || extent.height < 1 || extent.height > most / extent.width;
}

}  // namespace mnm
