// Neurons of classifiers of images: every score, judged by transformers in double precision and by
// neurons that were made to matter.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "artifact/checked_export.h"
#include "artifact/formats.h"
#include "engine/engine.h"
#include "neurons/importance.h"
#include "neurons/nested_checkpoint.h"
#include "neurons/neuron_ranking.h"
#include "tests/neurons/calibration_images.h"
#include "tests/neurons/importance_answers.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2_vision.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::kCalibrationImages;
using test::kOneThread;
using test::ordinary_config;

NestedModel describe(const nlohmann::json& config) {
  return family_of(config).describe(config, {});
}

// One config for each way in which tokens are read after the last layer, and both forms of GELU.
std::vector<std::pair<std::string, nlohmann::json>> classifiers() {
  std::vector<std::pair<std::string, nlohmann::json>> chosen;
  for (const auto& [name, config] : test::tiny_vits()) {
    for (const char* one : {"plain", "tanh", "distilled", "dinov2"}) {
      if (name == one) chosen.emplace_back(name, ordinary_config(config));
    }
  }
  return chosen;
}

TEST(ImageImportance, IsWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  std::size_t number = 0;
  for (const auto& [name, config] : classifiers()) {
    SCOPED_TRACE(name);
    const fs::path folder = dir / ("cases/" + name);
    test::write_checkpoint(folder / "ordinary", config, test::vit_tensors(describe(config)));
    const OpenedModel opened = open_model(folder / "ordinary");
    test::write_answers(folder, opened, *test::images(folder / "images", opened.model, 1),
                        ++number);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(test::python_failure("neurons/image_neurons_check.py", {dir / "cases"}, dir), "");
}

// Of each image the tokens that are read after the layer: not as many in the last layer as in the
// others if the class token is read, or the patches.
TEST(ImageImportance, CountsTheTokensThatAreRead) {
  const test::TempDir dir;
  const std::tuple<std::string, nlohmann::json, std::int64_t> cases[] = {
      {"class", test::tiny_vit(), 1},
      {"both", test::tiny_dinov2(), 10},
      {"mamba_class", test::tiny_mamba2_vision(), 1},
      {"mamba_patches", test::tiny_mamba2_vision({{"pool", "avg"}}), 9}};
  for (const auto& [name, config, tokens] : cases) {
    SCOPED_TRACE(name);
    const NestedModel model = describe(config);
    test::write_checkpoint(
        dir / name, config,
        model.family == "vit" ? test::vit_tensors(model) : test::mamba2_vision_tensors(model, 5));
    const OpenedModel opened = open_model(dir / name);
    const auto data = test::images(dir / (name + "-images"), opened.model, 2);
    std::size_t layers = 0;
    const StatisticsSink sink = [&, read = tokens](std::size_t layer,
                                                   const ChannelStatistics& statistics) {
      EXPECT_EQ(statistics.sequences, kCalibrationImages);
      EXPECT_EQ(statistics.tokens, kCalibrationImages * (layer < 2 ? 10 : read)) << layer;
      ++layers;
    };
    open_engine("cpu")
        .load(opened.model, opened.checkpoint, kOneThread)
        ->calibrate(*data, {.removal = true}, sink, {});
    EXPECT_EQ(layers, 3u);
  }
}

constexpr std::int32_t kEvery = 3;
bool matters(std::int32_t neuron) { return neuron % kEvery == 1; }

// One neuron of three is as it was, and always open; the others are small in all of their weights.
std::vector<test::TestTensor> with_planted_neurons(const NestedModel& model,
                                                   std::vector<test::TestTensor> tensors) {
  for (std::size_t layer = 0; layer < model.layers(); ++layer) {
    for (const NeuronTensor& of : neurons_of(model, layer).tensors) {
      const auto found = std::ranges::find(tensors, of.spec->name, &test::TestTensor::name);
      const auto cut = static_cast<std::size_t>(of.spec->cut_dim);
      const std::size_t inner = test::elements_of(
          {found->shape.begin() + static_cast<std::ptrdiff_t>(cut) + 1, found->shape.end()});
      for (std::size_t i = 0; i < found->values.size(); ++i) {
        const std::size_t index = i / inner % static_cast<std::size_t>(found->shape[cut]);
        if (!matters(static_cast<std::int32_t>(index))) {
          found->values[i] *= 0.01f;
        } else if (found->shape.size() == 1) {
          found->values[i] += 4;  // past which GELU is the identity, but for little
        }
      }
    }
  }
  return tensors;
}

void expect_planted_first(const OpenedModel& opened, const std::vector<NeuronOrder>& orders) {
  for (std::size_t layer = 0; layer < orders.size(); ++layer) {
    const NeuronOrder& order = orders[layer];
    const auto first_small = std::ranges::find_if_not(order, matters);
    EXPECT_TRUE(std::none_of(first_small, order.end(), matters)) << "layer " << layer;
    ASSERT_EQ(static_cast<std::int64_t>(order.size()), neurons_of(opened.model, layer).count);
  }
}

// Each score finds them, and the nested checkpoint, whose writer compares logits with those of the
// ordinary one, computes the same at full width: under the names of transformers and of timm.
TEST(ImageImportance, FindsTheNeuronsThatMatter) {
  const test::TempDir dir;
  std::vector<std::pair<std::string, nlohmann::json>> cases = classifiers();
  cases.emplace_back("for_timm", ordinary_config(test::tiny_vit({{"layer_norm_eps", 1e-6}})));
  for (const auto& [name, config] : cases) {
    SCOPED_TRACE(name);
    const NestedModel model = describe(config);
    test::write_checkpoint(dir / name, config,
                           with_planted_neurons(model, test::vit_tensors(model)));
    if (name == "for_timm") {
      const OpenedModel ours = open_model(dir / name);
      const auto plan =
          plan_export(ours, ours.model.space.full(), {}, {.format = "timm", .dtype = {}});
      write_checked(ours, *plan, dir / "timm", {.values = true, .device = kOneThread});
    }
    const OpenedModel opened = open_model(dir / (name == "for_timm" ? "timm" : name));
    const auto data = test::images(dir / (name + "-images"), opened.model, 3);
    const nlohmann::json nested = nested_config(opened, {.granularities = "1/4,1/2,1"}, {});
    for (const ImportanceRow& row : importance_table()) {
      SCOPED_TRACE(row.name);
      const std::vector<NeuronOrder> orders =
          rank_neurons(opened, row, row.needs_data ? data.get() : nullptr, kOneThread);
      expect_planted_first(opened, orders);
      const fs::path out = dir / fmt::format("{}-{}", name, row.name);
      const CheckedExport written = write_nested(opened, *plan_nested(opened, orders, nested), out,
                                                 {.values = true, .device = kOneThread});
      EXPECT_TRUE(written.difference.has_value());
      EXPECT_NE(test::slurp(out / "model.safetensors"),
                test::slurp(opened.checkpoint.directory() / "model.safetensors"));
    }
  }
}

// The biases of the first product move with its rows; that of the second one stays.
TEST(ImageImportance, MovesTheBiasesOfTheFirstProduct) {
  for (const auto& [name, config] : classifiers()) {
    SCOPED_TRACE(name);
    const NestedModel model = describe(config);
    const LayerNeurons neurons = neurons_of(model, 1);
    ASSERT_EQ(neurons.tensors.size(), 3u);
    EXPECT_EQ(neurons.tensors[0].spec->shape.size(), 2u);
    EXPECT_EQ(neurons.tensors[1].spec->shape,
              std::vector<std::int64_t>{neurons.tensors[0].spec->shape[0]});
    EXPECT_EQ(neurons.tensors[2].spec, neurons.down().spec);
  }
}

}  // namespace
}  // namespace mnm
