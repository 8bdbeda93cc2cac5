#include "serve/verify_request.h"
#include "tests/fuzz/fuzz.h"

// What a server answers that verifies drafts. An answer that is read can be written and read again.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto answer = mnm::parse_verify_answer(mnm::fuzz::text_of(data, size));
  if (!answer) return 0;
  if (answer->accepted < 0 || answer->length < 0 || !(answer->seconds >= 0)) std::abort();
  const auto again = mnm::parse_verify_answer(mnm::json_of(*answer).dump());
  if (!again || again->session != answer->session || again->seconds != answer->seconds) {
    std::abort();
  }
  return 0;
}
