#include <nlohmann/json.hpp>

#include "base/json.h"
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mnm::fuzz::expect_answer([&] {
    const auto json = mnm::parse_json(mnm::fuzz::text_of(data, size), "tokenizer.json");
    constexpr std::int64_t kVocabulary = 300;
    const mnm::Tokenizer tokenizer(mnm::parse_tokenizer_json(json, kVocabulary));
    mnm::TokenDecoder decoder = tokenizer.decoder();
    for (const std::int64_t id : tokenizer.encode("two words, 12 and \xc3\xa9 <s>\n")) {
      if (id < 0 || id >= kVocabulary) std::abort();
      decoder.feed(id);
    }
    decoder.finish();
  });
  return 0;
}
