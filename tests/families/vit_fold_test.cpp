// The fold of vision transformers: siblings against each alone, one parent against many, with and
// without gradients, and all of it against transformers, in one Python process.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "families/vit/vit.h"
#include "families/vit/vit_config.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
#include "tests/support/python.h"
#include "tests/support/tiny_vit.h"

namespace mnm {

std::unique_ptr<Fold> make_vit_fold(const FoldInputs& inputs);

namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::TestTensor;

constexpr std::int64_t kImages = 3;

class Model {
 public:
  Model(const NestedModel& model, const std::vector<TestTensor>& tensors, at::ScalarType type)
      : model_(model) {
    for (const TestTensor& tensor : tensors) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    fold_ = make_vit_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
    for (std::size_t layer = 0; layer < model.layers(); ++layer) fold_->load(layer);
  }

  Fold& fold() { return *fold_; }
  // [nodes, images, classes]
  at::Tensor logits(const State& state) {
    const at::Tensor hidden = fold_->readout(state);
    EXPECT_EQ(hidden.size(2), 1);
    return fold_->logits(hidden.flatten(0, 2)).view({hidden.size(0), kImages, -1}).to(at::kDouble);
  }
  at::Tensor alone(const at::Tensor& images, const Widths& widths) {
    return logits(step_layers(*fold_, fold_->embed({images}), widths))[0];
  }
  // All of several candidates in one pass: as many nodes in every layer as candidates, the first
  // layer's under one parent, and in every other layer each with a sibling that is not followed.
  at::Tensor together(const at::Tensor& images, const std::vector<Widths>& all) {
    auto [state, givens] = fold_->embed({images});
    for (std::size_t layer = 0; layer < model_.layers(); ++layer) {
      const Width full = model_.space.layers[layer].full();
      Children children;
      std::vector<std::int32_t> followed;
      for (std::size_t c = 0; c < all.size(); ++c) {
        const auto parent = static_cast<std::int64_t>(layer == 0 ? 0 : c);
        if (layer == 0 && c > 0 && all[c][0] == all[c - 1][0]) {
          followed.push_back(followed.back());
          continue;
        }
        followed.push_back(static_cast<std::int32_t>(children.nodes()));
        children.add(parent, all[c][layer]);
        if (layer > 0 && all[c][layer] < full) children.add(parent, full);
      }
      state = step_layer(*fold_, layer, givens, state, children).select(followed);
    }
    return logits(state);
  }

 private:
  const NestedModel& model_;
  std::map<std::string, at::Tensor> weights_;
  std::unique_ptr<Fold> fold_;
};

// Ascending in the first layer, as children of one parent are.
std::vector<Widths> candidates(const NestedModel& model) {
  std::vector<Widths> all = {{8, 8, 8}, {8, 40, 16}, {16, 16, 16}, {40, 8, 8}, {40, 40, 40}};
  if (model.space.layers[1].may_skip) {
    all.push_back({40, kSkip, 16});
    all.push_back({40, 16, kSkip});
  }
  return all;
}

at::Tensor images_of(const VitConfig& config) {
  const std::int64_t all = kImages * config.channels * config.height * config.width;
  return at::arange(all, at::kDouble)
      .mul(0.7)
      .sin()
      .to(at::kFloat)
      .view({kImages, config.channels, config.height, config.width});
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

// The terms of all products on a path, each off by an epsilon.
double roundings(const VitConfig& config) {
  return static_cast<double>(config.layers + 1) *
         static_cast<double>(4 * config.hidden_size + config.positions() + config.full_width(0) +
                             config.patch_elements());
}

nlohmann::json json_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).contiguous();
  const double* const data = flat.const_data_ptr<double>();
  return std::vector<double>(data, data + flat.numel());
}

TEST(VitFold, ComputesWhatTransformersComputes) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir scratch;
  for (const auto& [name, json] : test::tiny_vits()) {
    const NestedModel model = describe_vit(json, {});
    const VitConfig config = parse_vit_config(json, {});
    const std::vector<TestTensor> tensors = test::random_tensors(model, 5);
    test::write_checkpoint(scratch / ("cases/" + name), json, tensors);
    const at::Tensor images = images_of(config);
    Model exact(model, tensors, at::kDouble), single(model, tensors, at::kFloat);
    const double in_double = roundings(config) * 0x1p-53, in_float = roundings(config) * 0x1p-24;
    nlohmann::json facts = {{"pixels", json_of(images)},
                            {"shape", images.sizes().vec()},
                            {"bound", 2 * in_double},
                            {"submodels", nlohmann::json::array()}};
    const std::vector<Widths> all = candidates(model);
    std::vector<at::Tensor> with_gradients;
    for (const Widths& widths : all) with_gradients.push_back(exact.alone(images, widths));
    const at::NoGradGuard no_grad;
    const at::Tensor shared = exact.together(images, all), in_f32 = single.together(images, all);
    for (std::size_t c = 0; c < all.size(); ++c) {
      const at::Tensor alone = exact.alone(images, all[c]);
      EXPECT_LE(worst(with_gradients[c], alone), in_double) << name << ", " << c;
      const auto node = static_cast<std::int64_t>(c);
      EXPECT_LE(worst(shared[node], alone), in_double) << name << ", " << c;
      EXPECT_LE(worst(in_f32[node], alone), in_float) << name << ", " << c;
      EXPECT_LE(worst(single.alone(images, all[c]), alone), in_float) << name << ", " << c;
      facts["submodels"].push_back({{"widths", all[c]}, {"logits", json_of(shared[node])}});
    }
    EXPECT_GT(worst(shared[0], shared[4]), 100 * in_float) << "widths make no difference";
    test::spew(scratch / ("cases/" + name + "/facts.json"), facts.dump());
  }
  EXPECT_EQ(test::python_failure("families/vit_check.py", {scratch / "cases"}, scratch), "");
}

TEST(VitFold, TheLastLayerComputesTheClassTokenAlone) {
  const at::NoGradGuard no_grad;
  for (const bool skipping : {false, true}) {
    const nlohmann::json json = test::tiny_vit(
        skipping ? nlohmann::json{{"mixnmatch_may_skip", {2}}} : nlohmann::json::object());
    const NestedModel model = describe_vit(json, {});
    Model run(model, test::random_tensors(model, 5), at::kFloat);
    const State state = step_layers(
        run.fold(), run.fold().embed({images_of(parse_vit_config(json, {}))}), {40, 40, 40});
    EXPECT_EQ(state.tensors.front().size(2), skipping ? 10 : 1);
  }
}

TEST(VitFold, RefusesOtherInputs) {
  const NestedModel model = describe_vit(test::tiny_vit(), {});
  Model run(model, test::random_tensors(model, 5), at::kFloat);
  const std::string error = test::error_of([&] {
    run.fold().embed({at::zeros({1, 7}, at::kLong)});
  });
  EXPECT_TRUE(test::contains(error, "another shape than 3 x 12 x 12")) << error;
}

}  // namespace
}  // namespace mnm
