// Compensated checkpoints: what they compute at every width, and their submodels.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include "artifact/checked_export.h"
#include "artifact/export_check.h"
#include "artifact/fixed_biases.h"
#include "artifact/formats.h"
#include "base/random.h"
#include "engine/engine.h"
#include "eval/standard_error.h"
#include "model/cost.h"
#include "model/random_inputs.h"
#include "neurons/nested_checkpoint.h"
#include "neurons/neuron_ranking.h"
#include "tests/neurons/calibration_text.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_architectures.h"
#include "tests/support/tiny_llama.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::kContext;
using test::tokens;
using test::write_tokens;

const DeviceOptions kDevice{.threads = 1};
const CheckOptions kChecked{.values = true, .device = kDevice};
constexpr const char* kGranularities = "1/4,1/2,3/4,1";

// Sorted and compensated, in directory/"nested".
OpenedModel compensated(const fs::path& ordinary, const fs::path& data, const fs::path& nested) {
  const OpenedModel opened = open_model(ordinary);
  const CompensatedRanking ranking =
      rank_on(opened, importance_named("iterative"), true, *tokens(data, opened.model), kDevice);
  const nlohmann::json config =
      nested_config(opened, {.granularities = kGranularities}, {{"why", "test"}}, true);
  write_nested(opened, *plan_nested(opened, ranking.orders, config, ranking.means), nested,
               kChecked);
  return open_model(nested);
}

// Ordinary checkpoints whose architecture has a place for the biases.
std::vector<test::TinyLlama> variants() {
  std::vector<test::TinyLlama> all;
  for (test::TinyLlama& llama : test::tiny_llamas()) {
    llama.granularities = {};
    all.push_back(llama);
  }
  return all;
}

std::vector<Widths> some_widths(const NestedModel& model) {
  std::vector<Widths> all;
  for (std::size_t level = 0; level < model.space.levels(); ++level) {
    all.push_back(model.space.uniform(level));
  }
  Widths mixed = model.space.full();
  mixed.front() = 8;
  mixed.back() = 13;  // no granularity
  all.push_back(mixed);
  return all;
}

// The fold, the biases of the widths, and the written submodel.
TEST(Compensation, ASubmodelIsOrdinaryAndComputesTheSame) {
  const test::TempDir dir;
  const fs::path data = write_tokens(dir / "tokens.bin", 1);
  for (const test::TinyLlama& llama : variants()) {
    SCOPED_TRACE(llama.name);
    const OpenedModel nested =
        compensated(llama.write(dir / llama.name / "ordinary"), data, dir / llama.name / "nested");
    ASSERT_EQ(nested.model.compensation.size(), nested.model.layers());
    int number = 0;
    for (const Widths& widths : some_widths(nested.model)) {
      const fs::path out = dir / llama.name / std::to_string(number++);
      const FixedBiases fixed(nested, widths, out);
      EXPECT_TRUE(fixed.opened().model.compensation.empty());
      const auto plan = plan_export(fixed.opened(), widths, {{"why", "test"}}, {});
      const CheckedExport written = write_checked(fixed.opened(), *plan, out, kChecked);
      ASSERT_TRUE(written.probe);
      EXPECT_LE(
          logits_difference(nested, widths, fixed.opened(), widths, written.probe->inputs, kDevice),
          written.probe->tolerance)
          << to_string(widths);
      const OpenedModel submodel = open_model(out);
      EXPECT_TRUE(submodel.model.compensation.empty());
      EXPECT_EQ(submodel.model.space.levels(), 1u);
      EXPECT_EQ(submodel.model.config["mlp_bias"], true);
      EXPECT_LE(logits_difference(nested, widths, submodel, submodel.model.space.full(),
                                  written.probe->inputs, kDevice),
                written.probe->tolerance)
          << to_string(widths);
      EXPECT_EQ(cost_of(nested.model, widths).params,
                cost_of(submodel.model, submodel.model.space.full()).params);
      EXPECT_EQ(cost_of(nested.model, widths).params,
                CostTable(nested.model, {}).of(widths).params);
      std::int64_t stored = 0;
      for (const StoredTensor& tensor : submodel.checkpoint.tensors()) stored += tensor.elements();
      EXPECT_EQ(cost_of(nested.model, widths).params, stored);
    }
    EXPECT_FALSE(fs::exists(dir / llama.name / "0.biases"));
  }
}

TEST(Compensation, MovesWhatItsNarrowWidthsComputeAlone) {
  const test::TempDir dir;
  const fs::path data = write_tokens(dir / "tokens.bin", 1);
  test::TinyLlama llama;
  llama.granularities = {};
  const OpenedModel ordinary = open_model(llama.write(dir / "ordinary"));
  const OpenedModel nested = compensated(dir / "ordinary", data, dir / "nested");
  EXPECT_NE(ordinary.checkpoint.fingerprint(), nested.checkpoint.fingerprint());
  Random random(1);
  const ExampleInputs inputs = random_inputs(nested.model, 2, 12, random);
  // The same order without means.
  nlohmann::json config = nested.checkpoint.config();
  config.erase("mixnmatch_compensated");
  std::vector<std::string> added;
  for (const StoredTensor& tensor : nested.checkpoint.tensors()) {
    if (ordinary.checkpoint.find(tensor.name) == nullptr) added.push_back(tensor.name);
  }
  EXPECT_EQ(added.size(), 4u * 3);  // three biases and the means of three layers
  test::write_checkpoint(dir / "empty", config, {});
  const OpenedModel alone = open_model(
      Checkpoint::open_with(dir / "nested", config, added, dir / "empty/model.safetensors"));
  EXPECT_EQ(logits_difference(nested, {32, 32, 32}, alone, {32, 32, 32}, inputs, kDevice), 0);
  EXPECT_GT(logits_difference(nested, {32, 16, 32}, alone, {32, 16, 32}, inputs, kDevice), 1e-3);
  EXPECT_GT(cost_of(nested.model, {32, 16, 32}).params, cost_of(alone.model, {32, 16, 32}).params);
  EXPECT_EQ(cost_of(nested.model, {32, 16, 32}).flops, cost_of(alone.model, {32, 16, 32}).flops);
}

// Candidates that are scored together get what each gets alone.
TEST(Compensation, IsTheSameInSharedEvaluation) {
  const test::TempDir dir;
  const fs::path data = write_tokens(dir / "tokens.bin", 2);
  const OpenedModel nested =
      compensated(variants().front().write(dir / "ordinary"), data, dir / "nested");
  const std::unique_ptr<Examples> examples = tokens(data, nested.model);
  const std::vector<Widths> all = some_widths(nested.model);
  for (const bool stream : {false, true}) {
    DeviceOptions device = kDevice;
    device.stream = stream;
    const auto session = open_engine("cpu").load(nested.model, nested.checkpoint, device);
    const auto together = session->score(all, *examples, {}, {});
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto alone = session->score({&all[i], 1}, *examples, {}, {});
      EXPECT_NEAR(mean_of(together[i][Metric::kLoss]).value,
                  mean_of(alone.front()[Metric::kLoss]).value, 1e-6)
          << to_string(all[i]);
    }
  }
}

// The means go with their neurons.
TEST(Compensation, IsKeptWhereItsNeuronsAreSortedAnew) {
  const test::TempDir dir;
  const fs::path data = write_tokens(dir / "tokens.bin", 3);
  test::TinyLlama llama = variants().front();
  llama.mlp_bias = true;
  const OpenedModel nested = compensated(llama.write(dir / "ordinary"), data, dir / "nested");
  std::mt19937 random(4);
  std::vector<NeuronOrder> orders, inverse;
  for (std::size_t layer = 0; layer < nested.model.layers(); ++layer) {
    NeuronOrder& order = orders.emplace_back(neurons_of(nested.model, layer).count);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, random);
    inverse.push_back(inverse_of(order));
  }
  const auto write = [&](const OpenedModel& opened, const std::vector<NeuronOrder>& order,
                         const fs::path& target) {
    write_nested(opened, *plan_nested(opened, order, nested_config(opened, {}, {})), target,
                 kChecked);
    return open_model(target);
  };
  const OpenedModel shuffled = write(nested, orders, dir / "shuffled");
  write(shuffled, inverse, dir / "undone");
  const auto file = [&](const char* name) { return test::slurp(dir / name / kCompensationFile); };
  EXPECT_EQ(file("nested"), file("undone"));
  EXPECT_NE(file("nested"), file("shuffled"));
}

TEST(Compensation, IsOneSentenceWhereItCannotBe) {
  const test::TempDir dir;
  const fs::path data = write_tokens(dir / "tokens.bin", 5);
  const OpenedModel nested =
      compensated(variants().front().write(dir / "ordinary"), data, dir / "nested");
  EXPECT_TRUE(contains(test::error_of([&] { nested_config(nested, {}, {}, true); }),
                       "is compensated already: sort it anew without --compensate"));
  const auto plan = plan_export(nested, {8, 32, 32}, {}, {});
  EXPECT_TRUE(contains(test::error_of([&] { write_checked(nested, *plan, dir / "out", kChecked); }),
                       "cannot write slices of a compensated model at 8,32x2"));
  EXPECT_FALSE(fs::exists(dir / "out"));

  test::TinyMamba2 mamba;
  mamba.granularities = {};
  const OpenedModel heads = open_model(mamba.write(dir / "mamba"));
  EXPECT_TRUE(contains(test::error_of([&] { nested_config(heads, {}, {}, true); }),
                       "models of the family 'mamba2' have no place for a bias that depends on "
                       "the width; leave out --compensate"));
  for (test::TinyArchitecture tiny : test::tiny_architectures()) {
    if (tiny.name != "qwen3" && tiny.name != "internlm3") continue;
    tiny.config.erase("matformer_granularities");
    const OpenedModel opened = open_model(tiny.write(dir / tiny.name));
    const std::string error = test::error_of([&] { nested_config(opened, {}, {}, true); });
    EXPECT_TRUE(contains(error, tiny.name == "qwen3"
                                    ? "Qwen3ForCausalLM has no place for a bias of down_proj"
                                    : "only together with those of its attention"))
        << tiny.name << ": " << error;
  }
}

// The nested checkpoint in stock transformers, whose hooks measure the means; and submodels there,
// against hooks that put the means in the place of what they leave out.
TEST(Compensation, IsWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  fs::create_directory(dir / "cases");
  const fs::path data = write_tokens(dir / "cases/tokens.bin", 1);
  const auto add = [&](const fs::path& ordinary, const fs::path& at) {
    fs::create_directory(at);
    const OpenedModel nested = compensated(ordinary, data, at / "nested");
    const Widths half = nested.model.space.uniform(1);
    Widths mixed = half;
    mixed.front() = nested.model.space.full().front();
    for (const auto& [name, widths] : {std::pair("uniform", half), std::pair("mixed", mixed)}) {
      const FixedBiases fixed(nested, widths, at / name);
      write_checked(fixed.opened(), *plan_export(fixed.opened(), widths, {}, {}), at / name,
                    kChecked);
    }
  };
  for (const test::TinyLlama& llama : variants()) {
    if (llama.act_of_product || llama.dtype != Dtype::kF32) continue;
    add(llama.write(dir / "ordinary" / llama.name), dir / "cases" / llama.name);
  }
  for (test::TinyArchitecture tiny : test::tiny_architectures()) {
    if (tiny.name != "granite") continue;
    tiny.config.erase("matformer_granularities");
    add(tiny.write(dir / "ordinary" / tiny.name), dir / "cases" / tiny.name);
  }
  EXPECT_EQ(test::python_failure("neurons/compensation_check.py",
                                 {dir / "cases", std::to_string(kContext)}, dir),
            "");
}

}  // namespace
}  // namespace mnm
