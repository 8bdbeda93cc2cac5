// The orientation of a picture, which cameras write down instead of turning the pixels.
// EXIF 2.3, section 4.6.4, tag 0x0112: 1 is upright, 2 to 8 are the other ways to lay a picture
// down.
#pragma once

#include <cstddef>
#include <span>

#include "image/image.h"

namespace mnm {

inline constexpr int kUpright = 1;

// 1 to 8, as the EXIF block of the file says; kUpright if there is none or it is malformed.
int jpeg_orientation(std::span<const std::byte> file);  // the first APP1 segment of EXIF
int png_orientation(std::span<const std::byte> file);   // the chunk eXIf

// The picture turned so that it stands upright, as Pillow's ImageOps.exif_transpose does.
Image upright(Image image, int orientation);

}  // namespace mnm
