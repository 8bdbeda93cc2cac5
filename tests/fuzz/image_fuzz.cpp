#include "image/decode.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const std::int64_t channels : {1, 3}) {
    mnm::fuzz::expect_answer([&] {
      const mnm::DecodeOptions options{
          .channels = channels, .upright = true, .max_pixels = 1 << 20};
      const mnm::Image image =
          mnm::decode_image(mnm::fuzz::bytes_of(data, size), "picture", options);
      const mnm::Extent extent = image.extent;
      if (mnm::exceeds(extent, options.max_pixels) ||
          static_cast<std::int64_t>(image.pixels.size()) !=
              extent.height * extent.width * channels) {
        std::abort();
      }
    });
  }
  return 0;
}
