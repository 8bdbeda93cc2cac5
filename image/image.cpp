#include "image/image.h"

#include <cstddef>
#include <utility>

namespace mnm {

Image blank_image(const Extent& extent, std::int64_t channels) {
  Image image{extent, channels, {}};
  image.pixels.resize(static_cast<std::size_t>(extent.height * extent.width * channels));
  return image;
}

Image in_channels(Image image, std::int64_t channels) {
  if (image.channels == channels) return image;
  Image out = blank_image(image.extent, channels);
  const std::size_t count = image.pixels.size() / static_cast<std::size_t>(image.channels);
  const std::uint8_t* from = image.pixels.data();
  std::uint8_t* to = out.pixels.data();
  if (channels == 3) {
    for (std::size_t i = 0; i < count; ++i, to += 3) to[0] = to[1] = to[2] = from[i];
    return out;
  }
  for (std::size_t i = 0; i < count; ++i, from += 3) {
    const unsigned sum = from[0] * 19595u + from[1] * 38470u + from[2] * 7471u + 0x8000u;
    to[i] = static_cast<std::uint8_t>(sum >> 16);
  }
  return out;
}

}  // namespace mnm
