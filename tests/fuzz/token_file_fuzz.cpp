#include <algorithm>
#include <vector>

#include "dataset/tokens.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  for (const char* name : {"tokens.bin", "tokens.npy"}) {
    const auto path = scratch.write(name, mnm::fuzz::text_of(data, size));
    mnm::fuzz::expect_answer([&] {
      const mnm::TokenFile file(path);
      if (file.size() > size) std::abort();
      std::vector<std::int64_t> tokens(std::min<std::uint64_t>(file.size(), 1000));
      file.read(file.size() - tokens.size(), tokens, 256);
    });
  }
  return 0;
}
