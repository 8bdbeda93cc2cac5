// The scores and the checkpoints that they make, judged by transformers in double precision.
#include "neurons/importance.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "neurons/nested_checkpoint.h"
#include "neurons/neuron_ranking.h"
#include "tests/neurons/calibration_text.h"
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

const DeviceOptions kDevice{.threads = 1};

// [layers][neurons] of every score, and the checkpoint that one of them makes.
void write_answers(const fs::path& directory, const fs::path& data, std::size_t number) {
  const OpenedModel opened = open_model(directory / "ordinary");
  const std::unique_ptr<Examples> examples = tokens(data, opened.model);
  const std::unique_ptr<ModelSession> session =
      open_engine("cpu").load(opened.model, opened.checkpoint, kDevice);
  nlohmann::json scores;
  for (const ImportanceRow& row : importance_table()) {
    nlohmann::json& layers = scores[std::string(row.name)] = nlohmann::json::array();
    const StatisticsSink sink = [&](std::size_t layer, const ChannelStatistics& statistics) {
      ASSERT_EQ(layer, layers.size());
      layers.push_back(
          importance_of(row, neurons_of(opened.model, layer), statistics, opened.checkpoint));
    };
    session->calibrate(*examples, row.calibration, sink, {});
    ASSERT_EQ(layers.size(), opened.model.layers()) << row.name;
  }
  test::spew(directory / "scores.json", scores.dump());
  const auto rows = importance_table();
  const ImportanceRow& row = rows[number % rows.size()];
  const nlohmann::json config = nested_config(opened, {.granularities = "1/4,1/2,3/4,1"}, {});
  const auto plan = plan_nested(
      opened, rank_neurons(opened, row, row.needs_data ? examples.get() : nullptr, kDevice),
      config);
  const CheckedExport written =
      write_nested(opened, *plan, directory / "nested", {.values = true, .device = kDevice});
  ASSERT_TRUE(written.difference) << row.name;
  EXPECT_TRUE(fs::exists(directory / "nested" / kProbeFile));
}

TEST(Importance, IsWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  fs::create_directory(dir / "cases");
  const std::vector<std::string> names = write_ordinary(dir / "cases");
  const fs::path data = write_tokens(dir / "cases/tokens.bin", 1);
  for (std::size_t i = 0; i < names.size(); ++i) {
    write_answers(dir / "cases" / names[i], data, i);
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
    DeviceOptions streamed = kDevice;
    streamed.stream = true;
    EXPECT_EQ(rank_neurons(opened, row, data.get(), kDevice),
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
        test::error_of([&] { rank_neurons(opened, row, data.get(), kDevice); });
    EXPECT_TRUE(test::contains(error, "so a weight is no number or the activations overflow"))
        << row.name << ": " << error;
  }
}

}  // namespace
}  // namespace mnm
