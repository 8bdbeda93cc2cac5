// What needs no LibTorch stays small and never opens it. How soon it answers on the clock is a
// floor of speed (bench/floors.py), which no test depends on; how much more work a bare config.json
// is than nothing is tested here.
#include <algorithm>

#include "tests/end_to_end/workshop.h"
#include "tests/support/tiny_architectures.h"

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

// Of every architecture, and of a model as large as any: the program is at work for less than five
// times what it takes to begin and to end. On a busy machine both take more processor time, in the
// same minutes, so their ratio stays. Each is the shortest of runs by turns: a run that the machine
// slowed down is passed over, and work that is always there is in all of them.
TEST(Startup, ABareConfigIsInspectedAtOnce) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "most of its time is AddressSanitizer's; builds without it run this test";
#endif
  constexpr double kTimes = 5;
  constexpr int kRuns = 5;
  std::vector<TinyArchitecture> models = tiny_architectures();
  models.push_back(tiny_architecture("large", "Llama", "llama",
                                     {{"hidden_size", 16384},
                                      {"intermediate_size", 53248},
                                      {"matformer_granularities", nullptr},
                                      {"num_attention_heads", 128},
                                      {"num_hidden_layers", 126},
                                      {"vocab_size", 128256}}));
  const TempDir dir;
  for (const TinyArchitecture& model : models) {
    const std::filesystem::path config = dir / (model.name + ".json");
    spew(config, model.config.dump());
    double nothing = 0, inspection = 0;  // seconds
    for (int run = 0; run < kRuns; ++run) {
      const auto shortest = [&](double& so_far, const std::vector<std::string>& command) {
        const Result result = mixnmatch(command);
        ASSERT_EQ(result.status, 0) << model.name << ": " << result.err;
        so_far = run == 0 ? result.cpu_seconds : std::min(so_far, result.cpu_seconds);
      };
      ASSERT_NO_FATAL_FAILURE(shortest(nothing, {"--version"}));
      ASSERT_NO_FATAL_FAILURE(shortest(inspection, {"inspect", config.string()}));
    }
    EXPECT_LT(inspection, kTimes * nothing) << model.name;
    const nlohmann::json seen = mixnmatch({"inspect", config.string(), "--json"}).json();
    EXPECT_EQ(seen["uniform"].size(), seen["width_space"][0]["granularities"].size());
    bool by_onnx = false;
    for (const nlohmann::json& taker : seen["takers"]) {
      by_onnx = by_onnx || (taker["runtime"] == "onnxruntime" && taker["takes"] == "all");
    }
    EXPECT_TRUE(by_onnx) << model.name;
  }
}

}  // namespace
}  // namespace mnm::test
