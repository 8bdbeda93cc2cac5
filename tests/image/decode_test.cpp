#include "image/decode.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/pictures.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

Image decode(std::string_view file, const DecodeOptions& options = {}) {
  // A copy of its own size, so that the sanitizer sees a read past its end.
  const std::vector<char> bytes(file.begin(), file.end());
  return decode_image(std::as_bytes(std::span(bytes)), "a.jpg", options);
}

TEST(Decode, APngIsWhatWasWritten) {
  for (const std::int64_t channels : {1, 3}) {
    const Image image = test::picture(5, 7, channels);
    EXPECT_EQ(decode(test::png_of(image), {.channels = channels}).pixels, image.pixels);
  }
}

TEST(Decode, ACutFileIsAnErrorAtEveryLength) {
  const Image image = test::picture(16, 24, 3);
  for (const std::string& file : {test::png_of(image), test::jpeg_of(image)}) {
    // Behind the last pixel a PNG has 12 bytes of IEND and 4 of a checksum, and a JPEG its end.
    for (std::size_t length = 0; length + 20 < file.size(); ++length) {
      EXPECT_NE(error_of([&] { decode(std::string_view(file).substr(0, length)); }), "") << length;
    }
  }
}

TEST(Decode, AnErrorSaysWhatIsWrong) {
  const std::string jpeg = test::jpeg_of(test::picture(40, 40, 3));
  struct Case {
    std::string file, phrase;
  };
  for (const auto& [file, phrase] :
       std::vector<Case>{{"", "a.jpg: the file is empty"},
                         {"GIF89a....", "it is a GIF file, JPEG and PNG are read"},
                         {"RIFF1234WEBPVP8 ", "it is a WebP file"},
                         {std::string("II*\0rest", 8), "it is a TIFF file"},
                         {"hello", "neither JPEG nor PNG"},
                         {jpeg.substr(0, jpeg.size() / 2), "it is truncated after"},
                         {"\xff\xd8\xff\xd9", "cannot decode a.jpg"}}) {
    EXPECT_TRUE(contains(error_of([&] { decode(file); }), phrase))
        << phrase << ": " << error_of([&] { decode(file); });
  }
}

TEST(Decode, ABombIsRefusedByItsHeader) {
  // Sizes are at fixed places; the checksum of a PNG's header follows them.
  std::string png = test::png_of(test::picture(4, 4, 1));
  EXPECT_TRUE(contains(error_of([&] { decode(png, {.channels = 1, .max_pixels = 15}); }),
                       "it says that it has 4 x 4 pixels, the limit is 15 in all"));
  EXPECT_EQ(decode(png, {.channels = 1, .max_pixels = 16}).pixels.size(), 16u);
  std::string jpeg = test::jpeg_of(test::picture(8, 8, 1));
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\x00\xff\x00", 4);
  EXPECT_TRUE(contains(error_of([&] { decode(jpeg, {.max_pixels = 1000}); }),
                       "65280 x 65280 pixels, the limit is 1000"));
  jpeg.replace(frame + 5, 4, std::string(4, '\0'));
  EXPECT_TRUE(contains(error_of([&] { decode(jpeg); }), "a.jpg: it says that it has 0 pixels"));
  const std::size_t height = png.find("IHDR") + 8;
  png.replace(height, 4, std::string(4, '\0'));
  EXPECT_TRUE(contains(error_of([&] { decode(png); }), "a.jpg: it says that it has 0 pixels"));
}

// Of files that are too small for the pixels that they say, no memory is taken.
TEST(Decode, AFileHoldsNoMorePixelsThanItsBytesCan) {
  constexpr std::string_view kSide("\0\0\x20\0", 4);  // 8192
  std::string png = test::png_of(test::picture(8, 8, 1));
  png.replace(16, 4, kSide).replace(20, 4, kSide);
  const auto sum = static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const unsigned char*>(png.data() + 12), 17));
  for (std::size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(sum >> (24 - 8 * i));
  std::string jpeg = test::jpeg_of(test::picture(8, 8, 1));
  jpeg.replace(jpeg.find("\xff\xc0") + 5, 4, "\x20\0\x20\0", 4);
  for (const std::string& file : {png, jpeg}) {
    DecodeOptions options;
    options.reserve = [](std::uint64_t) { FAIL(); };
    EXPECT_TRUE(contains(
        error_of([&] { decode(file, options); }),
        "8192 x 8192 pixels, which its " + std::to_string(file.size()) + " bytes cannot hold"))
        << error_of([&] { decode(file, options); });
  }
}

TEST(Decode, MemoryIsAskedForBeforeItIsTaken) {
  const Image image = test::picture(50, 60, 3);
  for (const std::string& file : {test::png_of(image), test::jpeg_of(image)}) {
    std::uint64_t asked = 0;
    DecodeOptions options;
    options.reserve = [&](std::uint64_t bytes) { asked += bytes; };
    decode(file, options);
    EXPECT_EQ(asked, 2 * image.pixels.size());
    options.reserve = [](std::uint64_t) { fail("no memory"); };
    EXPECT_EQ(error_of([&] { decode(file, options); }), "no memory");
  }
}

TEST(Decode, DamagedBytesNeverGoUnbounded) {
  // Every byte in turn has another value: an error or a picture of the same size, and the
  // sanitizers have nothing to say.
  const Image image = test::picture(9, 11, 3);
  for (const std::string& file : {test::png_of(image), test::jpeg_of(image)}) {
    for (std::size_t i = 0; i < file.size(); ++i) {
      for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
        std::string damaged = file;
        damaged[i] = static_cast<char>(static_cast<unsigned char>(damaged[i]) ^ flip);
        error_of([&] {
          const Image got = decode(damaged, {.upright = true, .max_pixels = 1 << 16});
          EXPECT_EQ(got.pixels.size(),
                    static_cast<std::size_t>(got.extent.height * got.extent.width * 3));
        });
      }
    }
  }
}

}  // namespace
}  // namespace mnm
