#include "model/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mnm::fuzz::expect_answer([&] {
    const auto header =
        mnm::parse_safetensors(mnm::fuzz::bytes_of(data, size), size, "model.safetensors");
    for (const mnm::TensorEntry& entry : header.tensors) {
      if (entry.begin > entry.end || header.data_offset + entry.end > size) std::abort();
    }
  });
  return 0;
}
