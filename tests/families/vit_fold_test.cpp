// The fold of vision transformers, all routes of it, against transformers, in one Python process.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "families/vit/config.h"
#include "families/vit/vit.h"
#include "tests/families/image_folds.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
#include "tests/support/python.h"
#include "tests/support/tiny_vit.h"

namespace mnm {
namespace {

using test::ImageModel;
using test::TempDir;

std::vector<Widths> candidates(const NestedModel& model) {
  std::vector<Widths> all = {{8, 8, 8}, {8, 40, 16}, {16, 16, 16}, {40, 8, 8}, {40, 40, 40}};
  if (model.space.layers[1].may_skip) {
    all.push_back({40, kSkip, 16});
    all.push_back({40, 16, kSkip});
  }
  return all;
}

// The terms of all products on a path, each off by an epsilon.
double roundings(const VitConfig& config) {
  return static_cast<double>(config.layers + 1) *
         static_cast<double>(4 * config.hidden_size + config.positions() + config.full_width(0) +
                             config.image.elements());
}

TEST(VitFold, ComputesWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir scratch;
  auto cases = test::tiny_vits();
  for (auto& resized : test::resized_vits()) cases.push_back(std::move(resized));
  for (const auto& [name, json] : cases) {
    const NestedModel model = describe_vit(json, {});
    const std::vector<test::TestTensor> tensors = test::random_tensors(model, 5);
    test::write_checkpoint(scratch / ("cases/" + name), json, tensors);
    test::expect_one_computation(model, tensors, candidates(model),
                                 roundings(parse_vit_config(json, {})),
                                 scratch / ("cases/" + name));
  }
  EXPECT_EQ(test::python_failure("families/vit_check.py", {scratch / "cases"}, scratch), "");
}

TEST(VitConverter, MakesMatVitsFlaxStateACheckpoint) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir scratch;
  EXPECT_EQ(test::python_failure("families/matvit_check.py", {scratch.path()}, scratch), "");
}

// Where that layer may be skipped, all tokens; of DINOv2 they are all read.
TEST(VitFold, TheLastLayerComputesTheTokensThatAreRead) {
  const at::NoGradGuard no_grad;
  const std::pair<nlohmann::json, std::int64_t> cases[] = {
      {test::tiny_vit(), 1},
      {test::tiny_vit({{"mixnmatch_may_skip", {2}}}), 10},
      {test::tiny_vit(
           {{"model_type", "deit"}, {"architectures", {"DeiTForImageClassificationWithTeacher"}}}),
       2},
      {test::tiny_dinov2(), 10},
      {test::tiny_dinov2(true), 12}};
  for (const auto& [json, tokens] : cases) {
    const NestedModel model = describe_vit(json, {});
    ImageModel run(model, test::random_tensors(model, 5), at::kFloat);
    const State state =
        step_layers(run.fold(), run.fold().embed({test::images_for(model)}), {40, 40, 40});
    EXPECT_EQ(state.tensors.front().size(2), tokens) << json["model_type"];
  }
}

// Of the last layer the tokens that are read, even where it computes all since it may be skipped.
TEST(VitFold, ShowsTheTokensThatAreRead) {
  const at::NoGradGuard no_grad;
  const std::pair<nlohmann::json, std::int64_t> cases[] = {
      {test::tiny_vit(), 1},
      {test::tiny_vit({{"mixnmatch_may_skip", {2}}}), 1},
      {test::tiny_vit(
           {{"model_type", "deit"}, {"architectures", {"DeiTForImageClassificationWithTeacher"}}}),
       2},
      {test::tiny_dinov2(), 10}};
  for (const auto& [json, tokens] : cases) {
    const NestedModel model = describe_vit(json, {});
    ImageModel run(model, test::random_tensors(model, 5), at::kFloat);
    EXPECT_EQ(run.fold().shown_tokens(1, model.max_context), model.max_context);
    EXPECT_EQ(run.fold().shown_tokens(2, model.max_context), tokens) << json["model_type"];
  }
}

// What is shown, times the columns of fc2 that a width leaves out, is what the width loses.
TEST(VitFold, ShowsWhatItsSecondProductReads) {
  const at::NoGradGuard no_grad;
  constexpr Width kNarrow = 8;
  for (const auto& [name, json] : test::tiny_vits()) {
    SCOPED_TRACE(name);
    const NestedModel model = describe_vit(json, {});
    const VitConfig config = parse_vit_config(json, {});
    const VitStyle& style = config.kind->style;
    ImageModel run(model, test::random_tensors(model, 5), at::kDouble);
    const double bound = roundings(config) * 0x1p-53;
    const std::vector<test::ShownLayer> layers = test::shown_layers(run, model, bound);
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      const test::ShownLayer& of = layers[layer];
      const std::string base = config.layer_name(static_cast<std::int64_t>(layer));
      const at::Tensor& fc2 = run.weight(base + std::string(style.fc2) + ".weight");
      const std::int64_t rest = fc2.size(1) - kNarrow;
      ASSERT_EQ(of.rows.size(1), fc2.size(1));
      at::Tensor lost =
          at::matmul(of.rows.narrow(1, kNarrow, rest), fc2.narrow(1, kNarrow, rest).t());
      if (style.layer_scale) lost = lost * run.weight(base + "layer_scale2.lambda1");
      const at::Tensor full = of.after.tensors.front(),
                       narrow = step_layer(run.fold(), layer, {}, of.before, kNarrow).tensors[0];
      const std::int64_t tokens = of.rows.size(0) / test::kImages;
      const at::Tensor loses = (full - narrow)[0].narrow(1, 0, tokens).flatten(0, 1);
      EXPECT_LE((lost - loses).abs().max().item<double>(), bound * full.abs().max().item<double>())
          << layer;
      EXPECT_GT(loses.abs().max().item<double>(), 0) << layer;
    }
  }
}

TEST(VitFold, RefusesOtherInputs) {
  const NestedModel model = describe_vit(test::tiny_vit(), {});
  ImageModel run(model, test::random_tensors(model, 5), at::kFloat);
  const std::string error = test::error_of([&] {
    run.fold().embed({at::zeros({1, 7}, at::kLong)});
  });
  EXPECT_TRUE(test::contains(error, "another shape than 3 x 12 x 12")) << error;
}

}  // namespace
}  // namespace mnm
