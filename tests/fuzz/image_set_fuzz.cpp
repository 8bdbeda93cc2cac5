#include <algorithm>

#include "dataset/image_file.h"
#include "dataset/npy.h"
#include "tests/fuzz/fuzz.h"

// The pixels of an image set, beside two labels; and the labels, beside two pixels.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const std::int64_t two[] = {2}, pixels[] = {2, 1, 1, 1};
  const std::string_view bytes = mnm::fuzz::text_of(data, size);
  const mnm::PixelScale scale = {.mean = {0.5}, .deviation = {0.5}};
  for (const bool labels : {false, true}) {
    scratch.write("labels.npy",
                  labels ? bytes : mnm::npy_head("|u1", two) + std::string("\0\1", 2));
    scratch.write("images.npy",
                  labels ? mnm::npy_head("|u1", pixels) + std::string("\0\1", 2) : bytes);
    mnm::fuzz::expect_answer([&] {
      const mnm::ImageFile images(scratch.path(), scale);
      if (images.count() < 1 || images.elements() < 1) std::abort();
      if (std::ranges::min(images.labels()) < 0) std::abort();
      std::vector<float> first(static_cast<std::size_t>(images.elements()));
      images.read(images.count() - 1, 1, first);
    });
  }
  return 0;
}
