// The fold of MatMamba-Vision, all routes of it, against the recurrence as it is written down, in
// one Python process. The bridge is judged there, too.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "families/family.h"
#include "families/mamba2_vision/config.h"
#include "families/mamba2_vision/huggingface.h"
#include "tests/families/image_folds.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2_vision.h"

namespace mnm {
namespace {

using test::ImageModel;
using test::TempDir;

NestedModel describe(const nlohmann::json& json) { return family_of(json).describe(json, {}); }

std::vector<Widths> candidates(const NestedModel& model) {
  const Width full = model.space.layers.front().full();
  std::vector<Widths> all = {{4, 4, 4}, {4, full, 8}, {8, 8, 8}, {full, 4, 4}, {full, full, full}};
  if (model.space.layers[1].may_skip) {
    all.push_back({full, kSkip, 8});
    all.push_back({full, 8, kSkip});
  }
  return all;
}

// The terms of all sums on a path, each off by an epsilon, and ten for each exponential, whose
// argument is a sum of steps.
double roundings(const Mamba2VisionConfig& config) {
  const Mamba2Config& blocks = config.blocks;
  return static_cast<double>(blocks.layers + 1) *
         static_cast<double>(3 * blocks.hidden_size + 12 * config.positions() +
                             2 * blocks.inner(blocks.full_width(0)) + blocks.state_size +
                             config.image.elements());
}

TEST(Mamba2VisionFold, ComputesTheRecurrence) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir scratch;
  for (const auto& [name, json] : test::tiny_mamba2_visions()) {
    const NestedModel model = describe(json);
    const std::vector<test::TestTensor> tensors = test::mamba2_vision_tensors(model, 5);
    const std::filesystem::path folder = scratch / ("cases/" + name);
    test::write_checkpoint(folder, json, tensors);
    test::expect_one_computation(model, tensors, candidates(model),
                                 roundings(parse_mamba2_vision_config(json, {})), folder);
    // As it is exported whole.
    test::write_checkpoint(folder / "bridge",
                           mamba2_vision_config(model, model.space.full(), Dtype::kF32), tensors);
    for (const auto& [file, text] : mamba2_vision_bridge()) {
      test::spew(folder / "bridge" / file, text);
    }
  }
  EXPECT_EQ(test::python_failure("families/mamba2_vision_check.py", {scratch / "cases"}, scratch),
            "");
}

TEST(Mamba2VisionFold, TheLastLayerComputesTheClassTokenAlone) {
  const at::NoGradGuard no_grad;
  for (const auto& [changes, tokens] :
       std::vector<std::pair<nlohmann::json, std::int64_t>>{{nlohmann::json::object(), 1},
                                                            {{{"pool", "avg"}}, 10},
                                                            {{{"mixnmatch_may_skip", {2}}}, 10}}) {
    const NestedModel model = describe(test::tiny_mamba2_vision(changes));
    ImageModel run(model, test::mamba2_vision_tensors(model, 5), at::kFloat);
    const State state =
        step_layers(run.fold(), run.fold().embed({test::images_for(model)}), {16, 16, 16});
    EXPECT_EQ(state.tensors.front().size(2), tokens) << changes;
  }
}

// What is shown, times out_proj, is what the layer adds to the tokens that are read after it: to
// the class token, which is the last one, or to the patches.
TEST(Mamba2VisionFold, ShowsWhatItsLastProductReads) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, json] : test::tiny_mamba2_visions()) {
    SCOPED_TRACE(name);
    const NestedModel model = describe(json);
    const Mamba2VisionConfig config = parse_mamba2_vision_config(json, {});
    ImageModel run(model, test::mamba2_vision_tensors(model, 5), at::kDouble);
    const double bound = roundings(config) * 0x1p-53;
    const std::vector<test::ShownLayer> layers = test::shown_layers(run, model, bound);
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      const test::ShownLayer& of = layers[layer];
      const std::string out = "layers." + std::to_string(layer) + ".mixer.out_proj.";
      at::Tensor added = at::matmul(of.rows, run.weight(out + "weight").t());
      if (config.blocks.bias) added = added + run.weight(out + "bias");
      const std::int64_t tokens = of.rows.size(0) / test::kImages;
      EXPECT_EQ(tokens,
                layer < 2 ? config.positions() : (config.class_token ? 1 : config.positions() - 1));
      const auto read = [&](const State& state) {
        const at::Tensor x = state.tensors.front()[0];
        const bool last = layer == 2 && config.class_token;
        return x.narrow(1, last ? x.size(1) - 1 : 0, tokens).flatten(0, 1);
      };
      const at::Tensor after = read(of.after);
      EXPECT_LE((read(of.before) + added - after).abs().max().item<double>(),
                bound * after.abs().max().item<double>())
          << layer;
    }
  }
}

// In bf16 the two forms of the last layer round apart. From its input to a logit either form rounds
// to bf16: the norm; for each of x, B and C the product with in_proj and, in the convolution, every
// tap's product, their sums, the sum with the bias and silu; the gated output; out_proj; its sum
// over the RMS; the sum with the parent's state; the last norm; the head and its bias. Each
// rounding is off by at most 2^-9 of a number, evenly spread, and independent of the others, in
// both forms. So their difference has a variance of 2^-18 / 3 for each, and four of its standard
// deviations are allowed.
TEST(Mamba2VisionFold, TheLastLayerIsTheSameInBf16) {
  const at::NoGradGuard no_grad;
  const NestedModel model = describe(test::tiny_mamba2_vision()),
                    whole = describe(test::tiny_mamba2_vision({{"mixnmatch_may_skip", {2}}}));
  const auto tensors = test::mamba2_vision_tensors(model, 5);
  const at::Tensor images = test::images_for(model);
  ImageModel alone(model, tensors, at::kBFloat16), all(whole, tensors, at::kBFloat16);
  const auto taps =
      static_cast<double>(parse_mamba2_vision_config(model.config, {}).blocks.conv_kernel);
  const double mixed = 1 + taps + (taps - 1) + 2, around = 8;
  EXPECT_LE(test::worst(alone.alone(images, {16, 8, 8}), all.alone(images, {16, 8, 8})),
            4 * std::sqrt(2 * (3 * mixed + around) / 3) * 0x1p-9);
}

TEST(Mamba2VisionFold, RefusesOtherInputs) {
  const NestedModel model = describe(test::tiny_mamba2_vision());
  ImageModel run(model, test::mamba2_vision_tensors(model, 5), at::kFloat);
  const std::string error = test::error_of([&] {
    run.fold().embed({at::zeros({1, 7}, at::kLong)});
  });
  EXPECT_TRUE(test::contains(error, "another shape than 3 x 12 x 12")) << error;
}

}  // namespace
}  // namespace mnm
