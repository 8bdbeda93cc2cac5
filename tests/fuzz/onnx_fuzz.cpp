#include "export/onnx.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kDataBytes = 1 << 20;
  mnm::fuzz::expect_answer([&] {
    const mnm::OnnxFile file = mnm::parse_onnx(mnm::fuzz::bytes_of(data, size), "scorer.onnx",
                                               "model.onnx.data", kDataBytes);
    for (const mnm::OnnxWeight& weight : file.weights) {
      if (weight.offset + weight.bytes() > kDataBytes) std::abort();
    }
  });
  return 0;
}
