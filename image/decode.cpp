#include "image/decode.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "image/jpeg.h"
#include "image/orientation.h"
#include "image/png.h"

namespace mnm {
namespace {

struct Signature {
  std::string_view bytes;
  std::size_t at;
  std::string_view what;
};

// Formats that people have, and that are not read.
constexpr Signature kOthers[] = {
    {"GIF8", 0, "a GIF"},         {"WEBP", 8, "a WebP"},       {"BM", 0, "a BMP"},
    {"II*\0", 0, "a TIFF"},       {{"MM\0*", 4}, 0, "a TIFF"}, {"ftypavif", 4, "an AVIF"},
    {"ftypheic", 4, "a HEIC"},    {"P5", 0, "a PGM"},          {"P6", 0, "a PPM"},
    {"\xff\x0a", 0, "a JPEG XL"}, {"jP  ", 4, "a JPEG 2000"}};

}  // namespace

std::uint64_t most_encoded(const DecodeOptions& options) {
  // What colours and alpha of 8 bits take before they are compressed, and room for what else a file
  // may hold.
  constexpr std::uint64_t kPerPixel = 4, kElse = std::uint64_t{16} << 20;
  return kPerPixel * static_cast<std::uint64_t>(options.max_pixels) + kElse;
}

Image decode_image(std::span<const std::byte> file, const std::string& name,
                   const DecodeOptions& options) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  if (bytes.empty()) fail("cannot decode {}: the file is empty", name);
  int orientation = kUpright;
  Image image;
  if (bytes.starts_with("\xff\xd8\xff")) {
    image = decode_jpeg(file, name, options);
    if (options.upright) orientation = jpeg_orientation(file);
  } else if (bytes.starts_with("\x89PNG\r\n\x1a\n")) {
    image = decode_png(file, name, options);
    if (options.upright) orientation = png_orientation(file);
  } else {
    for (const Signature& other : kOthers) {
      if (bytes.size() >= other.at && bytes.substr(other.at).starts_with(other.bytes)) {
        fail("cannot decode {}: it is {} file, JPEG and PNG are read; convert it", name,
             other.what);
      }
    }
    fail("cannot decode {}: it is neither JPEG nor PNG, going by its first bytes", name);
  }
  return in_channels(upright(std::move(image), orientation), options.channels);
}

}  // namespace mnm
