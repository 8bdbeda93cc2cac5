#include "image/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <vector>

// clang-format off
#include <jpeglib.h>  // needs cstdio before it
#include <jerror.h>
// clang-format on

#include "base/error.h"

namespace mnm {
namespace {

// A progressive file may ask for any number of passes over all of its pixels. Real ones have about
// ten.
constexpr int kMostScans = 500;

// A Huffman code has a bit at least, and there is one for the mean of each block of 8 x 8 samples.
// The fewest blocks are there if one channel has a quarter of the rows, and another has a quarter
// of the columns: then 1024 pixels have 8 blocks.
constexpr std::uint64_t kMostPixelsOfAByte = 1024;

// What the library calls back. It must not return from an error, and C++ exceptions must not cross
// it, so errors jump to where the library was called.
struct Failure {
  jpeg_error_mgr manager;  // the library knows this address only
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX] = {};
  bool cut_off = false;  // the file ended before the picture did
};

void on_error(j_common_ptr info) {
  auto* const failure = reinterpret_cast<Failure*>(info->err);
  info->err->format_message(info, failure->message);
  if (info->err->msg_code == JERR_EMPTY_IMAGE) {
    std::snprintf(failure->message, sizeof failure->message, "it says that it has 0 pixels");
  }
  std::longjmp(failure->back, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) {
    reinterpret_cast<Failure*>(info->err)->cut_off = true;
  }
}

void on_scan(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  auto* const failure = reinterpret_cast<Failure*>(info->err);
  std::snprintf(failure->message, sizeof failure->message, "it has more than %d scans", kMostScans);
  std::longjmp(failure->back, 1);
}

// One file in the library's hands.
class Decompression {
 public:
  Decompression() {
    info_.err = jpeg_std_error(&failure_.manager);
    failure_.manager.error_exit = on_error;
    failure_.manager.emit_message = on_message;
    monitor_.progress_monitor = on_scan;
  }
  Decompression(const Decompression&) = delete;
  Decompression& operator=(const Decompression&) = delete;
  ~Decompression() { jpeg_destroy_decompress(&info_); }

  // False: the library refuses, and message() says why. No object with a destructor is made between
  // setjmp and the calls that may jump.
  bool read_header(std::span<const std::byte> file) {
    if (setjmp(failure_.back) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &monitor_;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(file.data()), file.size());
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  // Rows of num_components bytes a pixel, into `out`.
  bool read_pixels(std::uint8_t* out) {
    if (setjmp(failure_.back) != 0) return false;
    info_.out_color_space = info_.num_components == 1   ? JCS_GRAYSCALE
                            : info_.num_components == 3 ? JCS_RGB
                                                        : JCS_CMYK;
    jpeg_start_decompress(&info_);
    const std::size_t stride = static_cast<std::size_t>(info_.output_width) *
                               static_cast<std::size_t>(info_.num_components);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = out + info_.output_scanline * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  // The pixels or the colours that are made of them, a picture that is made of those, and of a file
  // of several scans the library's coefficients of 16 bits.
  std::uint64_t bytes_of_a_pixel() {
    const auto channels = static_cast<std::uint64_t>(info_.num_components);
    return std::max<std::uint64_t>(channels, 3) + 3 +
           (jpeg_has_multiple_scans(&info_) ? 2 * channels : 0);
  }
  const char* message() const { return failure_.message; }
  bool cut_off() const { return failure_.cut_off; }

 private:
  jpeg_decompress_struct info_{};
  jpeg_progress_mgr monitor_{};
  Failure failure_{};
};

// Adobe's CMYK, which is stored inverted, as Pillow makes RGB of it: black takes its share of the
// white that the other ink leaves.
Image rgb_of_cmyk(const Extent& extent, const std::vector<std::uint8_t>& cmyk) {
  Image image = blank_image(extent, 3);
  std::uint8_t* to = image.pixels.data();
  for (std::size_t i = 0; i < cmyk.size(); i += 4, to += 3) {
    const int white = cmyk[i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[i + c]) * white + 128;
      to[c] = static_cast<std::uint8_t>(white - ((product >> 8) + product) / 256);
    }
  }
  return image;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> file, const std::string& name,
                  const DecodeOptions& options) {
  Decompression jpeg;
  if (!jpeg.read_header(file)) fail("cannot decode {}: {}", name, jpeg.message());
  const Extent extent{jpeg.info().image_height, jpeg.info().image_width};
  const int channels = jpeg.info().num_components;
  if (exceeds(extent, options.max_pixels)) {
    fail("cannot decode {}: it says that it has {} x {} pixels, the limit is {} in all", name,
         extent.width, extent.height, options.max_pixels);
  }
  const auto pixels = static_cast<std::uint64_t>(extent.height * extent.width);
  if (!jpeg.info().arith_code && pixels / kMostPixelsOfAByte > file.size()) {
    fail("cannot decode {}: it says that it has {} x {} pixels, which its {} bytes cannot hold",
         name, extent.width, extent.height, file.size());
  }
  if (channels != 1 && channels != 3 && channels != 4) {
    fail("cannot decode {}: it has {} channels, expected 1, 3 or 4", name, channels);
  }
  if (options.reserve) options.reserve(pixels * jpeg.bytes_of_a_pixel());
  Image image;
  std::vector<std::uint8_t> cmyk;
  if (channels == 4) {
    cmyk.resize(static_cast<std::size_t>(extent.height * extent.width * 4));
  } else {
    image = blank_image(extent, channels);
  }
  if (!jpeg.read_pixels(channels == 4 ? cmyk.data() : image.pixels.data())) {
    fail("cannot decode {}: {}", name, jpeg.message());
  }
  if (jpeg.cut_off()) fail("cannot decode {}: it is truncated after {} bytes", name, file.size());
  return channels == 4 ? rgb_of_cmyk(extent, cmyk) : image;
}

}  // namespace mnm
