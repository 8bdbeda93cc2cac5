// State-space models: exports are what the nested model computes, and transformers agrees.
#include <fmt/format.h>

#include <algorithm>

#include "tests/end_to_end/workshop.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

// The export command itself holds nested run, extracted and reloaded tensors against each other.
TEST_F(Workshop, StateSpaceExportsComputeWhatTransformersComputes) {
  const bool verified = fs::exists(MNM_SOURCE_DIR "/.venv/bin/transformers");
  std::vector<std::string> verify = {MNM_SOURCE_DIR "/scripts/verify", "transformers"};
  for (TinyMamba2& tiny : tiny_mamba2s()) {
    const std::string model = tiny.write(dir_ / tiny.name).string();
    const int full = tiny.full();
    std::vector<std::string> wanted = {std::to_string(full)};
    if (tiny.groups == 1) {
      // Half of it, which transformers says natively; and mixed ones, untrained among them.
      wanted.push_back(std::to_string(full / 2 / tiny.step() * tiny.step()));
      if (tiny.layers == 3) {
        const int step = tiny.step();
        wanted.push_back(fmt::format("{},{},{}", step, full, (full / step + 2) / 3 * step));
        wanted.push_back(fmt::format("{}x3", step));
      }
    }
    for (const std::string& widths : wanted) {
      const std::string out = path(tiny.name + "-" + widths);
      const Result done =
          expect_done({"export", model, "--widths", widths, "--out", out, "--threads", "1"});
      EXPECT_NE(done.out.find("checked: "), std::string::npos) << tiny.name << " " << done.out;
      verify.push_back(out);
    }
  }
  if (!verified) GTEST_SKIP() << "transformers is not installed: scripts/setup test";
  verify.insert(verify.begin(), "/bin/bash");
  const Result answer = Running(verify).wait();
  EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
}

TEST_F(Workshop, StateSpaceModelsAreScoredSharedAsOneByOne) {
  TinyMamba2 tiny;
  tiny.vocab = 256;
  const std::string model = tiny.write(dir_ / "mamba").string();
  std::vector<std::string> command = {
      "eval",   model,      "--data",  search_,         "--context", "64",
      "--json", "--widths", "uniform", "--widths",      "6,10,14",   "--widths",
      "6,10,2", "--widths", "16,12,4", "--consistency", "--threads", "2"};
  const nlohmann::json shared = expect_done(command).json();
  command.push_back("--one-by-one");
  const nlohmann::json alone = expect_done(command).json();
  ASSERT_EQ(shared.size(), 7u);
  ASSERT_EQ(alone.size(), 7u);
  for (std::size_t i = 0; i < shared.size(); ++i) {
    EXPECT_EQ(shared[i]["widths"], alone[i]["widths"]);
    EXPECT_NEAR(shared[i]["loss"].get<double>(), alone[i]["loss"].get<double>(), 2e-5);
  }
}

}  // namespace
}  // namespace mnm::test
