// Reads JPEG files, by libjpeg-turbo. Only image/jpeg.cpp includes that library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "image/decode.h"
#include "image/image.h"

namespace mnm {

// As decode_image() has it; grey files give one channel, all others three.
Image decode_jpeg(std::span<const std::byte> file, const std::string& name,
                  const DecodeOptions& options);

}  // namespace mnm
