// The scores and the checkpoints that they make, judged by transformers in double precision.
#include "neurons/importance.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "neurons/neuron_ranking.h"
#include "tests/neurons/calibration_text.h"
#include "tests/neurons/importance_answers.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_architectures.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::kContext;
using test::tokens;
using test::write_tokens;

// Ordinary checkpoints: no granularities.
std::vector<std::string> write_ordinary(const fs::path& root) {
  std::vector<std::string> names;
  for (test::TinyLlama llama : test::tiny_llamas()) {
    if (llama.act_of_product) continue;  // transformers has no class for it
    llama.granularities = {};
    if (llama.name == "plain") llama.layers = 4;
    llama.write(root / llama.name / "ordinary");
    names.push_back(llama.name);
  }
  for (test::TinyArchitecture tiny : test::tiny_architectures()) {
    if (tiny.name != "phi3" && tiny.name != "olmo2" && tiny.name != "gemma" &&
        tiny.name != "granite_bias") {
      continue;
    }
    tiny.config.erase("matformer_granularities");
    tiny.write(root / tiny.name / "ordinary");
    names.push_back(tiny.name);
  }
  return names;
}

TEST(Importance, IsWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  fs::create_directory(dir / "cases");
  const std::vector<std::string> names = write_ordinary(dir / "cases");
  const fs::path data = write_tokens(dir / "cases/tokens.bin", 1);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const OpenedModel opened = open_model(dir / "cases" / names[i] / "ordinary");
    test::write_answers(dir / "cases" / names[i], opened, *tokens(data, opened.model), i);
    if (HasFatalFailure()) FAIL() << names[i];
  }
  EXPECT_EQ(test::python_failure("neurons/neurons_check.py",
                                 {dir / "cases", std::to_string(kContext)}, dir),
            "");
}

TEST(Importance, StreamedWeightsGiveTheSameOrder) {
  const test::TempDir dir;
  test::TinyLlama llama;
  llama.granularities = {};
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  const auto data = tokens(write_tokens(dir / "tokens.bin", 2), opened.model);
  for (const ImportanceRow& row : importance_table()) {
    if (!row.needs_data || row.calibration.saliency) continue;
    DeviceOptions streamed = test::kOneThread;
    streamed.stream = true;
    EXPECT_EQ(rank_neurons(opened, row, data.get(), test::kOneThread),
              rank_neurons(opened, row, data.get(), streamed))
        << row.name;
  }
}

TEST(Importance, NamesItsScores) {
  EXPECT_EQ(importance_named("wanda").score, ImportanceScore::kWanda);
  EXPECT_NE(test::usage_error_of([] {
              importance_named("best");
            }).find("there are magnitude, l2, channel, wanda, iterative, taylor"),
            std::string::npos);
}

TEST(Importance, RefusesTextThatSaysNothing) {
  const test::TempDir dir;
  test::TinyLlama llama;
  llama.granularities = {};
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  test::spew(dir / "same.bin", std::string(kContext * 3 + 1, '\x07'));
  const auto data = tokens(dir / "same.bin", opened.model);
  EXPECT_NE(test::error_of([&] { require_varied(*data); }).find("all of its 36 tokens are token 7"),
            std::string::npos);
}

// gate times up is past what f32 holds.
TEST(Importance, RefusesActivationsThatOverflow) {
  const test::TempDir dir;
  test::TinyLlama llama;
  llama.granularities = {};
  std::vector<test::TestTensor> tensors = llama.tensors();
  for (test::TestTensor& tensor : tensors) {
    if (!test::contains(tensor.name, "layers.1.mlp.")) continue;
    for (float& value : tensor.values) value *= 1e30f;
  }
  test::write_checkpoint(dir / "model", llama.config(), tensors);
  const OpenedModel opened = open_model(dir / "model");
  const auto data = tokens(write_tokens(dir / "tokens.bin", 3), opened.model);
  for (const ImportanceRow& row : importance_table()) {
    if (!row.needs_data) continue;
    const std::string error =
        test::error_of([&] { rank_neurons(opened, row, data.get(), test::kOneThread); });
    EXPECT_TRUE(test::contains(error, "so a weight is no number or the activations overflow"))
        << row.name << ": " << error;
    EXPECT_TRUE(test::contains(error, "calibrate on other data")) << error;
    EXPECT_FALSE(test::contains(error, "f32")) << "which is in use: " << error;
  }
  EXPECT_TRUE(test::contains(overflow_remedy(Dtype::kBF16), "--dtype f32"));
}

}  // namespace
}  // namespace mnm
