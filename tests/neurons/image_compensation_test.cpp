// Compensated classifiers of images: what they compute at every width, and their submodels.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "artifact/checked_export.h"
#include "artifact/export_check.h"
#include "artifact/fixed_biases.h"
#include "artifact/formats.h"
#include "model/cost.h"
#include "neurons/nested_checkpoint.h"
#include "neurons/neuron_ranking.h"
#include "tests/neurons/calibration_images.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2_vision.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::ordinary_config;

const DeviceOptions kDevice{.threads = 1};
const CheckOptions kChecked{.values = true, .device = kDevice};

NestedModel describe(const nlohmann::json& config) {
  return family_of(config).describe(config, {});
}

OpenedModel written(const nlohmann::json& config, const fs::path& directory) {
  test::write_checkpoint(directory, config, test::vit_tensors(describe(config)));
  return open_model(directory);
}

// Sorted in folder/"nested", with means or without them in folder/"alone". Ranked over the images
// of folder/"images".
OpenedModel nested_of(const OpenedModel& opened, const fs::path& folder, bool compensate) {
  const auto data = test::images(folder / "images", opened.model, 1);
  CompensatedRanking ranking = rank_on(opened, importance_named("iterative"), true, *data, kDevice);
  if (!compensate) ranking.means.clear();
  const nlohmann::json config =
      nested_config(opened, {.granularities = "1/4,1/2,1"}, {{"why", "test"}}, compensate);
  const fs::path out = folder / (compensate ? "nested" : "alone");
  write_nested(opened, *plan_nested(opened, ranking.orders, config, ranking.means), out, kChecked);
  return open_model(out);
}

// Both namings, layer scale, and an only token that is read.
std::vector<std::pair<std::string, nlohmann::json>> classifiers() {
  return {{"plain", ordinary_config(test::tiny_vit({{"layer_norm_eps", 1e-6}}))},
          {"dinov2", ordinary_config(test::tiny_dinov2())}};
}

void expect_ordinary_submodel(const OpenedModel& nested, const Widths& widths, const fs::path& out,
                              const std::string& format) {
  const FixedBiases fixed(nested, widths, out);
  EXPECT_TRUE(fixed.opened().model.compensation.empty());
  const auto plan =
      plan_export(fixed.opened(), widths, {{"why", "test"}}, {.format = format, .dtype = {}});
  const CheckedExport done = write_checked(fixed.opened(), *plan, out, kChecked);
  ASSERT_TRUE(done.probe.has_value());
  const OpenedModel submodel = open_model(out);
  EXPECT_TRUE(submodel.model.compensation.empty());
  EXPECT_EQ(submodel.model.space.levels(), 1u);
  EXPECT_LE(logits_difference(nested, widths, submodel, submodel.model.space.full(),
                              done.probe->inputs, kDevice),
            done.probe->tolerance);
  EXPECT_EQ(cost_of(nested.model, widths).params,
            cost_of(submodel.model, submodel.model.space.full()).params);
}

TEST(ImageCompensation, ASubmodelIsOrdinaryAndComputesTheSame) {
  const test::TempDir dir;
  for (const auto& [name, config] : classifiers()) {
    SCOPED_TRACE(name);
    const fs::path folder = dir / name;
    const OpenedModel with_means =
        nested_of(written(config, folder / "ordinary"), folder, /*compensate=*/true);
    ASSERT_EQ(with_means.model.compensation.size(), with_means.model.layers());
    const Width full = with_means.model.space.full().front();
    const Widths half = Widths(3, full / 2), mixed = {13, full, 8};
    expect_ordinary_submodel(with_means, half, folder / "half", "huggingface");
    expect_ordinary_submodel(with_means, mixed, folder / "mixed", "huggingface");
    if (name == "plain") expect_ordinary_submodel(with_means, half, folder / "timm", "timm");
  }
}

// The names of timm's checkpoint beside the means, which it has no names for.
TEST(ImageCompensation, ACheckpointOfTimmsIsCompensated) {
  const test::TempDir dir;
  const OpenedModel ours = written(classifiers().front().second, dir / "ours");
  write_checked(ours,
                *plan_export(ours, ours.model.space.full(), {}, {.format = "timm", .dtype = {}}),
                dir / "timm", kChecked);
  const OpenedModel with_means =
      nested_of(open_model(dir / "timm"), dir.path(), /*compensate=*/true);
  ASSERT_EQ(with_means.model.compensation.size(), 3u);
  expect_ordinary_submodel(with_means, {20, 20, 20}, dir / "half", "huggingface");
}

TEST(ImageCompensation, MovesWhatItsNarrowWidthsComputeAlone) {
  const test::TempDir dir;
  for (const auto& [name, config] : classifiers()) {
    SCOPED_TRACE(name);
    const fs::path folder = dir / name;
    const OpenedModel ordinary = written(config, folder / "ordinary");
    const OpenedModel with_means = nested_of(ordinary, folder, /*compensate=*/true);
    const OpenedModel alone = nested_of(ordinary, folder, /*compensate=*/false);
    const auto data = test::images(folder / "images", ordinary.model, 1);
    const ExampleInputs inputs = inputs_of(*data, 0, 3);
    const Widths full = ordinary.model.space.full();
    EXPECT_EQ(logits_difference(with_means, full, alone, full, inputs, kDevice), 0);
    Widths narrow = full;
    narrow[1] = full[1] / 4;
    EXPECT_GT(logits_difference(with_means, narrow, alone, narrow, inputs, kDevice), 1e-3);
    EXPECT_EQ(cost_of(with_means.model, narrow).params, cost_of(alone.model, narrow).params);
  }
}

TEST(ImageCompensation, IsRefusedWhereTheNormRunsOverTheWidth) {
  const test::TempDir dir;
  const nlohmann::json config = test::tiny_mamba2_vision();
  const NestedModel model = describe(config);
  test::write_checkpoint(dir / "mamba", config, test::mamba2_vision_tensors(model, 5));
  EXPECT_TRUE(test::contains(
      test::error_of([&] { nested_config(open_model(dir / "mamba"), {}, {}, true); }),
      "models of the family 'mamba2_vision' have no place for a bias that depends on the width; "
      "leave out --compensate"));
}

// Its hooks measure the means, of the last layer at the tokens that are read; and submodels are
// compared with hooks that put the means in the place of what they leave out.
TEST(ImageCompensation, IsWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  for (const auto& [name, config] : classifiers()) {
    const fs::path folder = dir / ("cases/" + name);
    const OpenedModel with_means =
        nested_of(written(config, dir / ("ordinary/" + name)), folder, /*compensate=*/true);
    const Width full = with_means.model.space.full().front();
    for (const auto& [at, widths] :
         {std::pair("uniform", Widths(3, full / 2)), std::pair("mixed", Widths{full, 10, 8})}) {
      const FixedBiases fixed(with_means, widths, folder / at);
      write_checked(fixed.opened(), *plan_export(fixed.opened(), widths, {}, {}), folder / at,
                    kChecked);
    }
  }
  EXPECT_EQ(test::python_failure("neurons/image_compensation_check.py", {dir / "cases"}, dir), "");
}

}  // namespace
}  // namespace mnm
