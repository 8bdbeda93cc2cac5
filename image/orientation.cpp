#include "image/orientation.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace mnm {
namespace {

using Bytes = std::span<const std::byte>;

// Numbers of either byte order; nothing past the end.
struct Reader {
  Bytes bytes;
  bool little = false;

  std::optional<std::uint32_t> number(std::size_t at, std::size_t size) const {
    if (at > bytes.size() || bytes.size() - at < size) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + (little ? size - 1 - i : i)]);
    }
    return value;
  }
  bool has(std::size_t at, std::string_view text) const {
    return at <= bytes.size() && bytes.size() - at >= text.size() &&
           std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
  }
};

// Of a TIFF header and its first directory.
int orientation_of(Bytes tiff) {
  constexpr std::uint32_t kTag = 0x0112, kShort = 3;
  Reader reader{tiff, false};
  reader.little = reader.has(0, "II");
  if (!reader.little && !reader.has(0, "MM")) return kUpright;
  const auto directory = reader.number(4, 4);
  if (reader.number(2, 2) != 42u || !directory) return kUpright;
  const std::size_t count = reader.number(*directory, 2).value_or(0);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry = *directory + 2 + 12 * i;
    if (reader.number(entry, 2) != kTag) continue;
    const std::uint32_t value = reader.number(entry + 8, 2).value_or(0);
    const bool sound = reader.number(entry + 2, 2) == kShort && value >= 1 && value <= 8;
    return sound ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

}  // namespace

int jpeg_orientation(Bytes file) {
  constexpr std::uint32_t kApp1 = 0xe1, kStartOfScan = 0xda, kFill = 0xff;
  constexpr std::string_view kExif("Exif\0\0", 6);
  const Reader reader{file};
  std::size_t at = 2;  // after the marker that begins the picture
  while (reader.number(at, 1) == kFill) {
    const std::uint32_t marker = reader.number(at + 1, 1).value_or(kStartOfScan);
    if (marker == kFill) {
      ++at;
      continue;
    }
    const std::size_t length = reader.number(at + 2, 2).value_or(0);
    if (marker == kStartOfScan || length < 2 || file.size() - at < length + 2) break;
    if (marker == kApp1 && length >= 2 + kExif.size() && reader.has(at + 4, kExif)) {
      return orientation_of(file.subspan(at + 4 + kExif.size(), length - 2 - kExif.size()));
    }
    at += 2 + length;
  }
  return kUpright;
}

int png_orientation(Bytes file) {
  const Reader reader{file};
  std::size_t at = 8;  // after the signature
  while (const auto length = reader.number(at, 4)) {
    if (file.size() - at < 12 || file.size() - at - 12 < *length) break;
    if (reader.has(at + 4, "eXIf")) return orientation_of(file.subspan(at + 8, *length));
    at += 12 + static_cast<std::size_t>(*length);
  }
  return kUpright;
}

Image upright(Image image, int orientation) {
  if (orientation <= kUpright || orientation > 8) return image;
  // Row y and column x of the result are those of the stored picture, exchanged, then counted from
  // the other end.
  const bool exchange = orientation >= 5;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const auto [height, width] = image.extent;
  Image out = blank_image(exchange ? Extent{width, height} : image.extent, image.channels);
  const auto channels = static_cast<std::size_t>(image.channels);
  std::uint8_t* to = out.pixels.data();
  for (std::int64_t y = 0; y < out.extent.height; ++y) {
    for (std::int64_t x = 0; x < out.extent.width; ++x, to += channels) {
      const std::int64_t down = from_bottom ? out.extent.height - 1 - y : y;
      const std::int64_t across = from_right ? out.extent.width - 1 - x : x;
      const std::int64_t row = exchange ? across : down, column = exchange ? down : across;
      std::copy_n(image.row(row) + column * image.channels, channels, to);
    }
  }
  return out;
}

}  // namespace mnm
