// Reads files of pictures: JPEG and PNG.
//
// The pixels are those of Pillow's Image.open(file).convert("RGB"), or convert("L") for one
// channel, to the bit:
//   JPEG   slow integer DCT, fancy upsampling; CMYK is taken as Adobe stores it, inverted
//   PNG    palettes and grey of fewer bits are spread to 8 bits; alpha is dropped without blending;
//          of 16 bits the upper 8 are kept, except that grey of 16 bits without alpha saturates
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "image/image.h"

namespace mnm {

struct DecodeOptions {
  std::int64_t channels = 3;             // of the result, 1 or 3
  bool upright = false;                  // turned as EXIF's orientation says; else as stored
  std::int64_t max_pixels = kMaxPixels;  // of a picture; a larger one is an Error
  // Called before memory is taken for a picture, with the bytes; it may wait. Empty: not so.
  std::function<void(std::uint64_t bytes)> reserve{};
};

// The most bytes of a file that is read as a picture. Without a bound on them, a file of any size
// that is named as a picture would be read into memory.
std::uint64_t most_encoded(const DecodeOptions& options);

// Error, which names the file `name`, for another format, for a picture of no pixels or of too
// many, and for a file that is truncated or damaged. Also for a file that is too small to hold the
// pixels that its header says.
Image decode_image(std::span<const std::byte> file, const std::string& name,
                   const DecodeOptions& options);

}  // namespace mnm
