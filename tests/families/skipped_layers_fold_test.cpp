// Llama and Mamba-2 with layers that are skipped: the families' folds know nothing of it, so every
// way through them is held against a plain loop that leaves those layers out.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "dataset/tokens.h"
#include "families/family.h"
#include "fold/evaluator.h"
#include "fold/fold.h"
#include "fold/layer_step.h"
#include "tests/support/tiny_llama.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

constexpr std::int64_t kLength = 21;

struct Tiny {
  std::string name;
  nlohmann::json config;
  std::vector<test::TestTensor> tensors;
  std::int64_t vocab = 0;
  // Roundings of a logit, relative to the largest, as the tests of the folds derive them.
  double roundings = 0;
};

std::vector<Tiny> models() {
  std::vector<Tiny> all;
  test::TinyLlama llama;
  llama.head_dim = 16, llama.kv_heads = 2;  // with the attention kernel
  all.push_back({"llama", llama.config(), llama.tensors(), llama.vocab,
                 4.0 * static_cast<double>(3 * llama.hidden + 16 + kLength + 4 * 16 + llama.full)});
  test::TinyMamba2 mamba;
  all.push_back({"mamba2", mamba.config(), mamba.tensors(), mamba.vocab,
                 40.0 * static_cast<double>(mamba.hidden + mamba.kernel + mamba.state +
                                            16 * kLength + 2 * mamba.inner())});
  return all;
}

// A model whose layers may be skipped, with its weights at hand.
class SkippableModel {
 public:
  SkippableModel(const Tiny& tiny, at::ScalarType type, bool resident = true)
      : description(family_of(tiny.config).describe(tiny.config, {})) {
    for (const test::TestTensor& tensor : tiny.tensors) {
      weights[tensor.name] = at::tensor(tensor.values).view(tensor.shape).to(type);
    }
    load(resident);
  }
  void load(bool resident) {
    fold_ = make_fold(
        {description, [this](const std::string& name) { return weights.at(name); }, resident});
  }
  Fold& fold() { return *fold_; }

  NestedModel description;
  std::map<std::string, at::Tensor> weights;

 private:
  std::unique_ptr<Fold> fold_;
};

// The full model, one with every layer skipped, one with each, and others.
std::vector<Widths> candidates_of(const NestedModel& model) {
  std::vector<Widths> all = {model.space.full(), Widths(model.layers(), kSkip)};
  for (std::size_t layer = 0; layer < model.layers(); ++layer) {
    all.push_back(model.space.full());
    all.back()[layer] = kSkip;
  }
  std::mt19937 random(5);
  while (all.size() < 25) {
    Widths& widths = all.emplace_back();
    for (const LayerChoices& layer : model.space.layers) {
      const std::size_t i = random() % (layer.granularities.size() + 1);
      widths.push_back(i == 0 ? kSkip : layer.granularities[i - 1]);
    }
  }
  return all;
}

TokenExamples data_of(const Tiny& tiny, std::int64_t sequences) {
  TokenExamples data;
  data.count = sequences;
  data.context = kLength;
  for (std::int64_t i = 0; i <= sequences * kLength; ++i) {
    data.tokens.push_back(static_cast<std::int32_t>(i * 7919 % tiny.vocab));
  }
  return data;
}

at::Tensor logits_of(Fold& fold, const State& state) {
  return fold.logits(fold.readout(state).flatten(0, 2));
}

// Without step_layer, plan and siblings: [sequences * tokens, vocab].
at::Tensor plain_logits(Fold& fold, const Widths& widths, const at::Tensor& tokens) {
  const auto [root, givens] = fold.embed({tokens});
  State state = root;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] == kSkip) continue;
    Children child;
    child.add(0, widths[layer]);
    state = fold.step(layer, givens, state, child);
  }
  return logits_of(fold, state);
}

struct Plain {
  std::vector<double> loss;  // [sequences]
  double largest = 0;        // of the logits
};

Plain plain_losses(SkippableModel& model, const Widths& widths, const TokenExamples& data) {
  Plain plain;
  std::vector<std::int64_t> input(static_cast<std::size_t>(data.context)), target = input;
  for (std::int64_t s = 0; s < data.count; ++s) {
    data.read_inputs(s, 1, std::as_writable_bytes(std::span(input)));
    data.read_targets(s, 1, target);
    const at::Tensor logits =
        plain_logits(model.fold(), widths, at::tensor(input, at::kLong).unsqueeze(0));
    plain.largest = std::max(plain.largest, logits.abs().max().item<double>());
    const at::Tensor log_p = at::log_softmax(logits, 1);
    plain.loss.push_back(
        log_p.gather(1, at::tensor(target, at::kLong).unsqueeze(1)).neg().mean().item<double>());
  }
  return plain;
}

TEST(SkippedLayersFold, AreScoredAsAPlainLoopThatLeavesThemOut) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // the tensors are tiny
  for (const Tiny& tiny : models()) {
    const TokenExamples data = data_of(tiny, 3);
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      SkippableModel exact(tiny, at::kDouble), model(tiny, type),
          streamed(tiny, type, /*resident=*/false);
      const std::vector<Widths> candidates = candidates_of(model.description);
      const auto score = [&](SkippableModel& of, bool one_by_one, const EvaluatorLimits& limits) {
        return score_candidates(of.fold(), of.description, at::kCPU, candidates, data,
                                {.one_by_one = one_by_one}, limits, {});
      };
      const auto shared = score(model, false, {}), alone = score(model, true, {});
      const auto passes =
          score(streamed, false,
                {1u << 30, StreamLimits{0, std::filesystem::temp_directory_path(), 1u << 30}});
      // Logits are off by their roundings and once more where they become f32, and a loss by
      // twice that.
      const double epsilon = type == at::kDouble ? 0x1p-53 : 0x1p-24;
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        const Plain plain = plain_losses(exact, candidates[i], data);
        const double tolerance = plain.largest * (2 * tiny.roundings * epsilon + 6 * 0x1p-24);
        for (std::size_t s = 0; s < plain.loss.size(); ++s) {
          const std::string what = tiny.name + " " + to_string(candidates[i]);
          EXPECT_NEAR(shared[i][Metric::kLoss][s], plain.loss[s], tolerance) << what;
          EXPECT_NEAR(alone[i][Metric::kLoss][s], plain.loss[s], tolerance) << what << " alone";
          EXPECT_EQ(passes[i][Metric::kLoss][s], shared[i][Metric::kLoss][s])
              << what << " streamed";
        }
      }
    }
  }
}

TEST(SkippedLayersFold, AreLeftOutTokenByTokenAndHaveNoCache) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);
  for (const Tiny& tiny : models()) {
    SkippableModel exact(tiny, at::kDouble), single(tiny, at::kFloat);
    const at::Tensor tokens =
        at::arange(2 * kLength, at::kLong).mul(7919).remainder(tiny.vocab).view({2, kLength});
    for (const Widths& widths : candidates_of(exact.description)) {
      const at::Tensor whole =
          plain_logits(exact.fold(), widths, tokens).view({2, kLength, tiny.vocab});
      for (SkippableModel* const model : {&exact, &single}) {
        std::vector<LayerCache> caches(widths.size());
        std::int64_t position = 0;
        for (const std::int64_t piece : {std::int64_t{7}, std::int64_t{1}, kLength - 8}) {
          const auto [root, givens] = model->fold().embed({tokens.narrow(1, position, piece)});
          State state = root;
          for (std::size_t layer = 0; layer < widths.size(); ++layer) {
            state =
                extend_layer(model->fold(), layer, givens, state, widths[layer], position, caches);
          }
          const at::Tensor got = logits_of(model->fold(), state).view({2, piece, tiny.vocab});
          const double epsilon = model == &exact ? 0x1p-53 : 0x1p-24;
          EXPECT_LE(
              (got.to(at::kDouble) - whole.narrow(1, position, piece)).abs().max().item<double>(),
              tiny.roundings * whole.abs().max().item<double>() * epsilon)
              << tiny.name << " " << to_string(widths);
          position += piece;
        }
        for (std::size_t layer = 0; layer < widths.size(); ++layer) {
          EXPECT_EQ(caches[layer].tensors.empty(), widths[layer] == kSkip);
        }
      }
    }
  }
}

TEST(SkippedLayersFold, GetNoGradientsAndTheOthersTheirs) {
  at::set_num_threads(1);
  for (const Tiny& tiny : models()) {
    SkippableModel model(tiny, at::kDouble);
    std::vector<at::Tensor> leaves;
    for (auto& [name, weight] : model.weights) leaves.push_back(weight.requires_grad_(true));
    model.load(true);
    const at::Tensor tokens =
        at::arange(2 * kLength, at::kLong).mul(7919).remainder(tiny.vocab).view({2, kLength});
    const auto gradients = [&](const at::Tensor& logits) {
      const at::Tensor by = at::arange(logits.numel(), logits.options()).sin().view_as(logits);
      return torch::autograd::grad({logits.mul(by).mean()}, leaves, {}, {}, false, true);
    };
    Widths widths = model.description.space.full();
    widths[1] = kSkip;
    const auto got = gradients(
        logits_of(model.fold(), step_layers(model.fold(), model.fold().embed({tokens}), widths)));
    model.load(true);  // what loading computes belongs to a graph that is gone
    const auto expected = gradients(plain_logits(model.fold(), widths, tokens));
    std::size_t i = 0, none = 0;
    for (const auto& [name, weight] : model.weights) {
      const bool skipped = name.find(".layers.1.") != std::string::npos;
      none += skipped;
      ASSERT_EQ(got[i].defined(), !skipped) << name;
      if (!skipped) {
        EXPECT_TRUE(got[i].equal(expected[i])) << name;
        EXPECT_GT(got[i].abs().max().item<double>(), 0) << name;
      }
      ++i;
    }
    EXPECT_GT(none, 0u);
  }
}

}  // namespace
}  // namespace mnm
