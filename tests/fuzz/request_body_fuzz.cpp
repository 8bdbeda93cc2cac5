#include "serve/completion_request.h"
#include "serve/verify_request.h"
#include "tests/fuzz/fuzz.h"

// The body of a request to the server.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body = mnm::fuzz::text_of(data, size);
  for (const auto endpoint : {mnm::Endpoint::kCompletions, mnm::Endpoint::kChat}) {
    mnm::fuzz::expect_answer([&] {
      const auto request = mnm::parse_completion_request(endpoint, body);
      if (request.prompts.empty() && request.messages.empty()) std::abort();
    });
  }
  mnm::fuzz::expect_answer([&] {
    const mnm::VerifyRequest request = mnm::parse_verify_request(body);
    mnm::parse_verify_request(mnm::json_of(request).dump());  // as a client would write it
  });
  return 0;
}
