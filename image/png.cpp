#include "image/png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "base/error.h"
#include "image/gzip.h"

namespace mnm {
namespace {

// One file in the library's hands. As in image/jpeg.cpp, errors jump to where it was called.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> file) : rest_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png_, this, on_read);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // False: the library refuses, and message() says why.
  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_info(png_, info_);
    stored_row_bytes_ = png_get_rowbytes(png_, info_);
    png_set_interlace_handling(png_);
    const bool deep_grey = grey() && depth() == 16 && !alpha();
    if (!deep_grey) png_set_strip_16(png_);
    if (palette()) png_set_palette_to_rgb(png_);
    if (grey() && depth() < 8) png_set_expand_gray_1_2_4_to_8(png_);
    png_set_strip_alpha(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  bool read_pixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    return true;
  }

  Extent extent() const {
    return {png_get_image_height(png_, info_), png_get_image_width(png_, info_)};
  }
  std::size_t stored_row_bytes() const { return stored_row_bytes_; }  // of the file's own pixels
  // After read_header() these are of the rows that read_pixels() gives.
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  int depth() const { return png_get_bit_depth(png_, info_); }
  int channels() const { return png_get_channels(png_, info_); }
  const char* message() const { return message_; }

 private:
  bool palette() const { return png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE; }
  bool grey() const { return (png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) == 0; }
  bool alpha() const { return (png_get_color_type(png_, info_) & PNG_COLOR_MASK_ALPHA) != 0; }

  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* const self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->message_, sizeof self->message_, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep out, std::size_t count) {
    auto* const self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "it is truncated");
    std::memcpy(out, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::size_t stored_row_bytes_ = 0;
  char message_[256] = {};
};

// Rows of 16-bit grey, of which 256 and more are white.
Image saturated(const Extent& extent, const std::vector<std::uint8_t>& wide) {
  Image image = blank_image(extent, 1);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = wide[2 * i] != 0 ? 255 : wide[2 * i + 1];
  }
  return image;
}

// Whether the header has a side of 0 pixels, of which the library says only that it is invalid.
bool is_empty(std::span<const std::byte> file) {
  constexpr std::size_t kSides = 16, kSide = 4;  // the first side's byte, and bytes of one
  const auto is_zero = [&](std::size_t begin) {
    return std::ranges::all_of(file.subspan(begin, kSide),
                               [](std::byte byte) { return byte == std::byte{0}; });
  };
  if (file.size() < kSides + 2 * kSide) return false;
  if (std::memcmp(file.data() + kSides - kSide, "IHDR", kSide) != 0) return false;
  return is_zero(kSides) || is_zero(kSides + kSide);
}

}  // namespace

Image decode_png(std::span<const std::byte> file, const std::string& name,
                 const DecodeOptions& options) {
  PngReader png(file);
  if (is_empty(file)) fail("cannot decode {}: it says that it has 0 pixels", name);
  if (!png.read_header()) fail("cannot decode {}: {}", name, png.message());
  const Extent extent = png.extent();
  if (exceeds(extent, options.max_pixels)) {
    fail("cannot decode {}: it says that it has {} x {} pixels, the limit is {} in all", name,
         extent.width, extent.height, options.max_pixels);
  }
  const auto height = static_cast<std::uint64_t>(extent.height);
  if (png.stored_row_bytes() * height / kMostRatio > file.size()) {
    fail("cannot decode {}: it says that it has {} x {} pixels, which its {} bytes cannot hold",
         name, extent.width, extent.height, file.size());
  }
  const std::size_t stride = png.row_bytes();
  if (options.reserve) {
    // The rows or the colours that are made of them, and a picture that is made of those.
    const std::uint64_t colours = 3 * static_cast<std::uint64_t>(extent.width);
    options.reserve((std::max<std::uint64_t>(stride, colours) + colours) * height);
  }
  std::vector<std::uint8_t> pixels(stride * height);
  std::vector<png_bytep> rows(static_cast<std::size_t>(extent.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = pixels.data() + y * stride;
  if (!png.read_pixels(rows.data())) fail("cannot decode {}: {}", name, png.message());
  if (png.depth() == 16) return saturated(extent, pixels);
  return {extent, png.channels(), std::move(pixels)};
}

}  // namespace mnm
