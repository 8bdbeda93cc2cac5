#include "dataset/task_maker.h"
#include "tests/fuzz/fuzz.h"

// Lines of questions and texts, with one token a byte.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes_as_tokens = [](std::string_view text, bool) {
    return std::vector<std::int64_t>(text.begin(), text.end());
  };
  mnm::fuzz::expect_answer([&] {
    const mnm::TaskFile task =
        mnm::make_task(mnm::fuzz::text_of(data, size), "q.jsonl", {bytes_as_tokens, "", 256, "v"},
                       {.window = 16, .prefix = 0, .cut = true});
    for (std::int64_t answer = 0; answer < task.answers(); ++answer) {
      if (task.tokens_of(answer).size() < 2 || task.tokens_of(answer).size() > 17) std::abort();
    }
  });
  return 0;
}
