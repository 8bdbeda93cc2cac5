// Folds of models of images: siblings against each alone, one parent against many, with and without
// gradients, f32 against f64. What they compute in f64 is written for a judge in Python.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace mnm::test {

inline constexpr std::int64_t kImages = 3;

class ImageModel {
 public:
  ImageModel(const NestedModel& model, const std::vector<TestTensor>& tensors, at::ScalarType type)
      : model_(model) {
    for (const TestTensor& tensor : tensors) {
      weights_[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    fold_ = make_fold({model_, [this](const std::string& name) { return weights_.at(name); }});
  }

  Fold& fold() { return *fold_; }
  const at::Tensor& weight(const std::string& name) const { return weights_.at(name); }
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

inline at::Tensor images_for(const NestedModel& model) {
  std::vector<std::int64_t> shape = model.input.shape;
  shape.insert(shape.begin(), kImages);
  const auto all = static_cast<std::int64_t>(elements_of(shape));
  return at::arange(all, at::kDouble).mul(0.7).sin().to(at::kFloat).view(shape);
}

inline double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
}

inline nlohmann::json json_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).contiguous();
  const double* const data = flat.const_data_ptr<double>();
  return std::vector<double>(data, data + flat.numel());
}

// A layer at full width: the states around it, and the channels that it shows, [images * tokens
// that are read after it, n].
struct ShownLayer {
  State before, after;
  at::Tensor rows;
};

// All layers of a model. `bound`: how far the logits may be off that it computes while it shows its
// channels, relative to the largest.
inline std::vector<ShownLayer> shown_layers(ImageModel& run, const NestedModel& model,
                                            double bound) {
  std::vector<ShownLayer> layers;
  auto [state, givens] = run.fold().embed({images_for(model)});
  State shown;
  for (std::size_t layer = 0; layer < model.layers(); ++layer) {
    std::vector<at::Tensor> seen;
    shown = step_layer_shown(run.fold(), layer, givens, state,
                             [&](const at::Tensor& rows) { seen.push_back(rows); });
    ShownLayer& of = layers.emplace_back();
    of.before = state;
    state = step_layer(run.fold(), layer, givens, state, model.space.layers[layer].full());
    of.after = state;
    of.rows = at::cat(seen);
    const std::int64_t tokens = of.before.tensors.front().size(2);
    EXPECT_EQ(of.rows.size(0), kImages * run.fold().shown_tokens(layer, tokens)) << layer;
  }
  EXPECT_LE(worst(run.logits(shown), run.logits(state)), bound);
  return layers;
}

// `all`: candidates that ascend in the first layer, as children of one parent do; the first and the
// last are far apart. `roundings`: how many roundings may add up. Writes facts.json to `folder`.
inline void expect_one_computation(const NestedModel& model, const std::vector<TestTensor>& tensors,
                                   const std::vector<Widths>& all, double roundings,
                                   const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  const at::Tensor images = images_for(model);
  ImageModel exact(model, tensors, at::kDouble), single(model, tensors, at::kFloat);
  const double in_double = roundings * 0x1p-53, in_float = roundings * 0x1p-24;
  nlohmann::json facts = {{"pixels", json_of(images)},
                          {"shape", images.sizes().vec()},
                          {"bound", 2 * in_double},
                          {"submodels", nlohmann::json::array()}};
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
  spew(folder / "facts.json", facts.dump());
}

}  // namespace mnm::test
