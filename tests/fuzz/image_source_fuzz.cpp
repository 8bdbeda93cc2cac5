#include <algorithm>

#include "image/image_source.h"
#include "tests/fuzz/fuzz.h"

namespace {

// A source has as many pictures as it lists, each with a class; each is decoded or refused.
void open_and_decode(const std::filesystem::path& path) {
  const auto source = mnm::open_image_source(std::span(&path, 1), {});
  for (const mnm::ListedImage& image : source->images) {
    if (image.label < 0 || static_cast<std::size_t>(image.label) >= source->classes.size()) {
      std::abort();
    }
  }
  for (std::size_t i = 0; i < std::min<std::size_t>(source->images.size(), 4); ++i) {
    mnm::fuzz::expect_answer([&] { source->decode(i, {.max_pixels = 1 << 20}); });
  }
}

}  // namespace

// A tar archive, or a file of pictures in MNIST's format with labels beside it.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const std::string_view bytes = mnm::fuzz::text_of(data, size);
  scratch.write("t-labels-idx1-ubyte", std::string_view("\0\0\x08\x01\0\0\0\x02\0\x01", 10));
  for (const char* name : {"pictures.tar", "t-images-idx3-ubyte"}) {
    const auto path = scratch.write(name, bytes);
    mnm::fuzz::expect_answer([&] { open_and_decode(path); });
  }
  return 0;
}
