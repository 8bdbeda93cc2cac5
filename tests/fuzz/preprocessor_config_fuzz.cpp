#include "image/preprocessor_config.h"
#include "tests/fuzz/fuzz.h"

// preprocessor_config.json of a checkpoint, or pretrained_cfg in its config.json.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const std::string_view bytes = mnm::fuzz::text_of(data, size);
  for (const char* name : {"preprocessor_config.json", "config.json"}) {
    const auto path = scratch.write(name, bytes);
    mnm::fuzz::expect_answer([&] { mnm::read_preprocessing(scratch.path()); });
    std::filesystem::remove(path);
  }
  return 0;
}
