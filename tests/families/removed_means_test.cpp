// What a layer's bias gains at each width, against its definition, and how the Llama fold uses it.
#include "families/removed_means.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "families/family.h"
#include "fold/fold.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

constexpr std::int64_t kOutputs = 5, kChannels = 40, kRows = 64;

struct Layer {
  at::Tensor matrix = at::rand({kOutputs, kChannels}, at::kDouble) - 0.5;
  at::Tensor rows =
      at::rand({kRows, kChannels}, at::kDouble);  // what the matrix is multiplied with
  at::Tensor bias = at::rand({kOutputs}, at::kDouble) - 0.5;

  at::Tensor out(Width width) const {
    return at::mm(rows.narrow(1, 0, width), matrix.narrow(1, 0, width).t()) + bias;
  }
  RemovedMeans removed(Dtype stored, double factor = 1) const {
    return {matrix, rows.mean(0), bias, stored, at::scalar_tensor(factor, at::kDouble)};
  }
};

// Every width then has the mean that the full width has, up to the rounding of its bias.
TEST(RemovedMeans, KeepTheMeanOfTheOutput) {
  const Layer layer;
  const at::Tensor full = layer.out(kChannels).mean(0);
  const std::vector<Width> widths = {1, 7, 8, 20, 39, 40};
  const std::vector<at::Tensor> gains = layer.removed(Dtype::kF32).gains(widths);
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    const at::Tensor off = layer.out(widths[i]).mean(0) + gains[i] - full;
    const at::Tensor bias = layer.bias + gains[i];
    EXPECT_LE(off.abs().max().item<double>(), 0x1p-24 * bias.abs().max().item<double>() + 1e-14)
        << widths[i];
    EXPECT_GT((layer.out(widths[i]).mean(0) - full).abs().max().item<double>(), 1e-3);
  }
  EXPECT_FALSE(gains.back().defined()) << "the full width leaves nothing out";
}

TEST(RemovedMeans, AreRoundedAsTheBiasIsStored) {
  const Layer layer;
  const std::vector<Width> widths = {8, 16};
  for (const Dtype stored : {Dtype::kF16, Dtype::kBF16}) {
    const at::ScalarType type = stored == Dtype::kF16 ? at::kHalf : at::kBFloat16;
    const std::vector<at::Tensor> gains = layer.removed(stored).gains(widths);
    const std::vector<at::Tensor> exact = layer.removed(Dtype::kF32).gains(widths);
    const std::vector<at::Tensor> twice = layer.removed(stored, 2).gains(widths);
    for (std::size_t i = 0; i < widths.size(); ++i) {
      // Adding and taking away the bias rounds in double.
      const at::Tensor rounded = (layer.bias + exact[i]).to(type).to(at::kDouble);
      EXPECT_LE((layer.bias + gains[i] - rounded).abs().max().item<double>(), 0x1p-50);
      EXPECT_TRUE(at::equal(twice[i], gains[i] * 2));
    }
  }
}

TEST(RemovedMeans, DoNotDependOnWhatWasAskedBefore) {
  const Layer layer;
  const RemovedMeans asked = layer.removed(Dtype::kF32);
  for (const Width width : {30, 3, 17, 3, 30}) {
    const at::Tensor fresh = layer.removed(Dtype::kF32).gains({&width, 1}).front();
    EXPECT_LE((asked.gains({&width, 1}).front() - fresh).abs().max().item<double>(), 0x1p-24);
  }
}

TEST(RemovedMeans, AreAddedToAWholeLevel) {
  const Layer layer;
  const RemovedMeans removed = layer.removed(Dtype::kF32);
  Children children;
  for (const Width width : {4, 9, 40}) children.add(0, width);
  children.add(1, 40);
  for (const Width width : {4, 12}) children.add(2, width);
  const at::Tensor out = at::rand({children.nodes(), 3, kOutputs}, at::kDouble), was = out.clone();
  removed.add_to(out, children);
  const std::vector<at::Tensor> gains = removed.gains(children.widths);
  for (std::size_t node = 0; node < gains.size(); ++node) {
    const auto i = static_cast<std::int64_t>(node);
    EXPECT_TRUE(at::equal(out[i], gains[node].defined() ? was[i] + gains[node] : was[i])) << node;
  }
  RemovedMeans().add_to(out, children);
  EXPECT_FALSE(RemovedMeans().gains(children.widths).front().defined());
}

std::unique_ptr<Fold> fold_of(const NestedModel& model, const test::TinyLlama& llama) {
  auto weights = std::make_shared<std::map<std::string, at::Tensor>>();
  for (const test::TestTensor& tensor : llama.tensors()) {
    (*weights)[tensor.name] = at::tensor(tensor.values).view(tensor.shape);
  }
  return make_fold({model, [weights](const std::string& name) { return weights->at(name); }});
}

// Layer by layer, a sequence alone.
at::Tensor stepped(Fold& fold, const at::Tensor& tokens, const Widths& widths) {
  const auto [root, givens] = fold.embed({tokens});
  State state = root;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    Children child;
    child.add(0, widths[layer]);
    state = fold.step(layer, givens, state, child);
  }
  return state.tensors.front().flatten(0, 2);
}

// Generation computes sequences of several widths in one pass.
TEST(RemovedMeans, AreAddedToTheRunsOfTheirWidths) {
  const at::NoGradGuard no_grad;
  test::TinyLlama llama;
  llama.compensated = true;
  const NestedModel model = family_of(llama.config()).describe(llama.config(), {});
  const std::unique_ptr<Fold> fold = fold_of(model, llama);
  const std::vector<Widths> widths = {{8, 4, 32}, {32, 32, 32}, {8, 16, 4}};
  const at::Tensor tokens = at::arange(15, at::kLong).view({3, 5});
  State state = fold->embed({tokens.reshape({1, 15})}).state;
  std::vector<std::vector<LayerCache>> caches(3, std::vector<LayerCache>(3));
  for (std::size_t layer = 0; layer < 3; ++layer) {
    std::vector<mnm::Run> runs;
    for (std::size_t s = 0; s < 3; ++s) {
      runs.push_back({.tokens = 5, .width = widths[s][layer], .caches = caches[s]});
    }
    state = fold->extend(layer, {}, state, runs);
  }
  const at::Tensor got = state.tensors.front().flatten(0, 2);
  for (std::int64_t s = 0; s < 3; ++s) {
    const at::Tensor alone =
        stepped(*fold, tokens.narrow(0, s, 1), widths[static_cast<std::size_t>(s)]);
    const double off = (got.narrow(0, s * 5, 5) - alone).abs().max().item<double>();
    // As many roundings as there are terms in a layer's products, in three layers.
    EXPECT_LE(off, 3 * 150 * 0x1p-24 * alone.abs().max().item<double>()) << s;
  }
}

// The full width computes what it computed before, bit for bit.
TEST(RemovedMeans, ChangeNothingAtFullWidth) {
  const at::NoGradGuard no_grad;
  test::TinyLlama plain, compensated;
  compensated.compensated = true;
  const NestedModel model = family_of(compensated.config()).describe(compensated.config(), {});
  const std::unique_ptr<Fold> with = fold_of(model, compensated);
  const at::Tensor tokens = at::arange(20, at::kLong).view({1, 20});
  const at::Tensor full = stepped(*with, tokens, {32, 32, 32});
  EXPECT_FALSE(at::equal(full, stepped(*with, tokens, {32, 16, 32})));
  // The same weights without what compensation needs.
  std::map<std::string, at::Tensor> weights;
  for (const test::TestTensor& tensor : compensated.tensors()) {
    weights[tensor.name] = at::tensor(tensor.values).view(tensor.shape);
  }
  const NestedModel ordinary = family_of(plain.config()).describe(plain.config(), {});
  const std::unique_ptr<Fold> without =
      make_fold({ordinary, [&](const std::string& name) { return weights.at(name); }});
  EXPECT_TRUE(at::equal(full, stepped(*without, tokens, {32, 32, 32})));
}

}  // namespace
}  // namespace mnm
