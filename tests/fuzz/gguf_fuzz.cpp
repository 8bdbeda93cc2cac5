#include "export/gguf.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mnm::fuzz::expect_answer([&] {
    const mnm::GgufHead head = mnm::parse_gguf(mnm::fuzz::bytes_of(data, size), "model.gguf");
    for (const mnm::GgufEntry& entry : head.tensors) {
      if (head.data_offset + entry.offset + entry.bytes() > size) std::abort();
    }
  });
  return 0;
}
