#include "export/probe.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const auto path = scratch.write("probe.safetensors", mnm::fuzz::text_of(data, size));
  mnm::fuzz::expect_answer([&] {
    const mnm::Probe probe = mnm::read_probe(path);
    const auto logits = static_cast<std::int64_t>(probe.logits.size());
    if (logits != probe.outputs() * probe.vocab_size) std::abort();
  });
  return 0;
}
