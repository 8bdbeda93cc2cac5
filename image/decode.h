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
#include <span>
#include <string>

#include "image/image.h"

namespace mnm {

struct DecodeOptions {
  std::int64_t channels = 3;             // of the result, 1 or 3
  bool upright = false;                  // turned as EXIF's orientation says; else as stored
  std::int64_t max_pixels = kMaxPixels;  // of a picture; a larger one is an Error
};

// Error, which names the file `name`, for another format, for a picture of no pixels or of too
// many, and for a file that is truncated or damaged.
Image decode_image(std::span<const std::byte> file, const std::string& name,
                   const DecodeOptions& options);

}  // namespace mnm
