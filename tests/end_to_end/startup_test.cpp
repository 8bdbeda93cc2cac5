// What needs no LibTorch stays small and never opens it. How soon it answers is a floor of speed
// (bench/floors.py), which no test depends on.
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

constexpr long kResidentKib = 64 * 1024;

TEST_F(Workshop, CommandsWithoutTorchDoWithoutIt) {
  expect_done(search({"--strategy", "uniform"}, db_));
  const std::vector<std::vector<std::string>> kCommands = {
      {"--version"},
      {"help"},
      {"inspect", model_},
      {"pareto", "--db", db_},
      {"pareto", "--db", db_, "--data", "search", "--svg", path("x.svg"), "--force"},
      {"compare", "--db", db_, "4x4", "32x4"},
      {"runs", "--db", db_},
      {"export", model_, "--widths", "8", "--out", path("dry"), "--dry-run"},
      {"export", model_, "--widths", "8", "--out", path("out"), "--no-check", "--force"},
      {"generate", "--help"},
      {"search", model_, "--data", search_, "--db", db_, "--context", "32", "--dry-run"},
  };
  for (const auto& command : kCommands) {
    // LibTorch alone is a hundred megabytes.
    EXPECT_LT(expect_done(command).max_resident_kib, kResidentKib) << command.front();
  }
}

}  // namespace
}  // namespace mnm::test
