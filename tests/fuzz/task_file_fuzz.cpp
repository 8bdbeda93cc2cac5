#include "dataset/task_examples.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const auto path = scratch.write("q.task", mnm::fuzz::text_of(data, size));
  mnm::fuzz::expect_answer([&] {
    const mnm::TaskFile task = mnm::read_task_file(path);
    if (task.tokens.size() > size) std::abort();
    for (std::int64_t answer = 0; answer < task.answers(); ++answer) {
      if (task.tokens_of(answer).size() < 2) std::abort();
    }
  });
  return 0;
}
