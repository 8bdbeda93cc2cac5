// The Mamba-2 fold's routes: every child alone with LibTorch's own operators in double (chunks of
// products, differentiable), against siblings from one scan, the kernels in f32 with and without
// gradients, and token by token.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/families/mamba2_folds.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

using test::extend;
using test::roundings;
using test::run;
using test::TinyMamba2;
using test::tokens_of;
using test::variants;
using test::widths_of;
using Model = test::Mamba2Model;

TEST(Mamba2Fold, SiblingsFromOneScanAreEachChildAlone) {
  std::uint32_t seed = 0;
  for (const TinyMamba2& tiny : variants()) {
    for (const auto& [sequences, length] : {std::pair{1, 1}, {2, 3}, {1, 33}, {3, 70}, {1, 300}}) {
      seed += 100;
      const at::Tensor tokens = tokens_of(tiny, sequences, length);
      at::set_num_threads(1);  // the tensors are tiny; the kernels get two
      Model exact(tiny, at::kDouble), single(tiny, at::kFloat);
      const at::Tensor alone =
          run(exact, tokens, seed);  // gradients are on: the differentiable form
      const at::Tensor trained = run(single, tokens, seed);
      const at::NoGradGuard no_grad;
      const at::Tensor shared = run(exact, tokens, seed);
      at::set_num_threads(2);
      const at::Tensor kernels = run(single, tokens, seed);
      ASSERT_EQ(alone.sizes(), shared.sizes());
      const double error = roundings(tiny, length) * alone.abs().max().item<double>();
      EXPECT_LE((shared - alone).abs().max().item<double>(), error * 0x1p-53)
          << tiny.name << ", " << length;
      EXPECT_LE((kernels - alone).abs().max().item<double>(), error * 0x1p-24)
          << tiny.name << ", " << length;
      EXPECT_LE((trained - alone).abs().max().item<double>(), error * 0x1p-24)
          << tiny.name << ", " << length;
    }
  }
}

TEST(Mamba2Fold, TokenByTokenIsTheWholeSequence) {
  const std::int64_t length = 75;
  const std::vector<std::vector<std::int64_t>> ways = {
      {75}, {74, 1}, {1, 74}, {2, 31, 1, 40, 1}, std::vector<std::int64_t>(75, 1)};
  for (const TinyMamba2& tiny : variants()) {
    const at::NoGradGuard no_grad;
    at::set_num_threads(1);  // a token is too little to share
    Model exact(tiny, at::kDouble), single(tiny, at::kFloat);
    Widths widths;
    for (const LayerChoices& layer : exact.description().space.layers) {
      const std::vector<Width> choices =
          widths_of(layer, tiny.seed + static_cast<std::uint32_t>(widths.size()));
      widths.push_back(choices[(widths.size() + 1) % choices.size()]);
    }
    for (const std::int64_t sequences : {1, 3}) {
      const at::Tensor tokens = tokens_of(tiny, sequences, length);
      const State state = step_layers(exact.fold(), exact.fold().embed({tokens}), widths);
      const at::Tensor whole = exact.fold()
                                   .logits(exact.fold().readout(state).flatten(0, 2))
                                   .view({sequences, length, -1});
      const double error = roundings(tiny, length) * whole.abs().max().item<double>();
      for (const std::vector<std::int64_t>& pieces : ways) {
        EXPECT_LE((extend(exact, widths, tokens, pieces) - whole).abs().max().item<double>(),
                  error * 0x1p-53)
            << tiny.name << ", " << pieces.size() << " pieces";
        EXPECT_LE((extend(single, widths, tokens, pieces) - whole).abs().max().item<double>(),
                  error * 0x1p-24)
            << tiny.name << ", " << pieces.size() << " pieces";
      }
    }
  }
}

// What a cache holds does not grow with the tokens.
TEST(Mamba2Fold, ItsCacheKeepsItsSize) {
  const at::NoGradGuard no_grad;
  const TinyMamba2 tiny = test::tiny_mamba2s().front();
  Model model(tiny, at::kFloat);
  LayerCache cache;
  std::size_t bytes = 0;
  for (std::int64_t position = 0; position < 100; ++position) {
    const auto [state, givens] =
        model.fold().embed({at::full({1, 1}, position % tiny.vocab, at::kLong)});
    extend_layer(model.fold(), 0, givens, state, static_cast<Width>(tiny.full()), position,
                 {&cache, 1});
    std::size_t now = 0;
    for (const at::Tensor& tensor : cache.tensors) now += tensor.nbytes();
    if (position > 0) {
      EXPECT_EQ(now, bytes);
    }
    bytes = now;
  }
}

// Gradients of the mean of logits times fixed weights, by name.
std::map<std::string, at::Tensor> gradients(const TinyMamba2& tiny, at::ScalarType type,
                                            const at::Tensor& tokens) {
  Model model(tiny, type);
  std::vector<at::Tensor> leaves;
  for (auto& [name, weight] : model.weights()) {
    weight.requires_grad_(true);
    leaves.push_back(weight);
  }
  model.reload();
  Widths widths;
  for (std::size_t layer = 0; layer < model.description().layers(); ++layer) {
    const std::vector<Width> choices =
        widths_of(model.description().space.layers[layer], static_cast<std::uint32_t>(layer));
    widths.push_back(choices[(layer + 1) % choices.size()]);
  }
  const State state = step_layers(model.fold(), model.fold().embed({tokens}), widths);
  const at::Tensor logits = model.fold().logits(model.fold().readout(state).flatten(0, 2));
  const at::Tensor weights =
      at::arange(logits.numel(), logits.options()).mul(0.37).sin().view(logits.sizes());
  const auto grads = torch::autograd::grad({(logits * weights).mean()}, leaves);
  std::map<std::string, at::Tensor> by_name;
  std::size_t i = 0;
  for (const auto& [name, weight] : model.weights()) by_name[name] = grads[i++].to(at::kDouble);
  return by_name;
}

TEST(Mamba2Fold, TheKernelsGradientsAreThoseOfTheOperators) {
  for (const TinyMamba2& tiny : variants()) {
    for (const std::int64_t length : {1, 2, 31, 70}) {
      const at::Tensor tokens = tokens_of(tiny, 2, length);
      const auto exact = gradients(tiny, at::kDouble, tokens);
      const auto single = gradients(tiny, at::kFloat, tokens);
      for (const auto& [name, right] : exact) {
        // Backward there are as many products as forward, over the same lengths; a sum over all
        // tokens is the longest. Relative to the tensor's largest gradient.
        const double tolerance = 0x1p-24 * 4 * roundings(tiny, 2 * length) *
                                 std::max(right.abs().max().item<double>(), 1e-6);
        EXPECT_LE((single.at(name) - right).abs().max().item<double>(), tolerance)
            << tiny.name << ", " << length << " tokens: " << name;
      }
    }
  }
}

}  // namespace
}  // namespace mnm
