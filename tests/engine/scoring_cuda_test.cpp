// The bundled model scored with the CUDA kernels, whole, as a search does it, against the CPU's own
// route. Label `gpu`, and on the host.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dataset/tokens.h"
#include "engine/engine.h"
#include "eval/paired.h"
#include "families/open_model.h"
#include "tests/support/cuda_path.h"

extern "C" mnm::Engine* mnm_make_engine();

namespace mnm {
namespace {

const std::string kBundled = MNM_SOURCE_DIR "/data/reference";
constexpr std::int64_t kContext = 48, kSequences = 6;

// Full and narrowest, and others in between.
std::vector<Widths> candidates_of(const WidthSpace& space) {
  std::mt19937 random(9);
  std::vector<Widths> all = {space.full()};
  Widths& narrowest = all.emplace_back();
  for (const LayerChoices& layer : space.layers) narrowest.push_back(layer.granularities.front());
  while (all.size() < 10) {
    Widths& widths = all.emplace_back();
    for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
      const std::vector<Width> choices = space.choices(layer);
      widths.push_back(choices[random() % choices.size()]);
    }
  }
  return all;
}

class ScoringCuda : public ::testing::Test {
 protected:
  std::vector<CandidateScores> score(const std::string& device, Dtype dtype) {
    const std::unique_ptr<ModelSession> session = mnm_make_engine()->load(
        opened_.model, opened_.checkpoint, {.device = device, .dtype = dtype, .threads = 1});
    return session->score(candidates_, data_, {.metrics = {Metric::kKl}}, {});
  }

  // The largest difference between two routes' values of any candidate and sequence.
  static float apart(const std::vector<CandidateScores>& a, const std::vector<CandidateScores>& b,
                     Metric metric) {
    float most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      for (std::size_t s = 0; s < a[i][metric].size(); ++s) {
        const float difference = std::abs(a[i][metric][s] - b[i][metric][s]);
        if (!(difference <= most)) most = difference;  // NaN stays
      }
    }
    return most;
  }

  // Candidates that are apart by more than the error of their paired difference are so the same way
  // round; and there are such.
  void expect_the_same_ranks(const std::vector<CandidateScores>& cpu,
                             const std::vector<CandidateScores>& cuda) const {
    int pairs = 0;
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const Estimate expected = paired_difference(cpu[i][Metric::kLoss], cpu[j][Metric::kLoss]);
        if (std::abs(expected.value) < expected.standard_error) continue;
        ++pairs;
        EXPECT_GT(paired_difference(cuda[i][Metric::kLoss], cuda[j][Metric::kLoss]).value *
                      expected.value,
                  0)
            << i << " and " << j << ", apart by " << expected.value << " +- "
            << expected.standard_error;
      }
    }
    EXPECT_GT(pairs, 20);
  }

  OpenedModel opened_ = open_model(kBundled);
  std::vector<Widths> candidates_ = candidates_of(opened_.model.space);
  TokenExamples data_ = load_token_examples({.path = kBundled + "/search.bin",
                                             .context = kContext,
                                             .max_tokens = kContext * kSequences + 1},
                                            opened_.model.vocab_size, opened_.model.max_context);
};

TEST_F(ScoringCuda, InF32GivesTheLossesOfTheCpu) {
  MNM_NEEDS_CUDA_DEVICE();
  const std::vector<CandidateScores> cpu = score("cpu", Dtype::kF32);
  const test::OnCuda on_cuda(/*with_products=*/true);
  const std::vector<CandidateScores> cuda = score(test::kCudaDevice.str(), Dtype::kF32);
  ASSERT_EQ(cpu[0][Metric::kLoss].size(), static_cast<std::size_t>(kSequences));
  // Each route rounds as often as there are terms on a path (tests/families/llama_fold_test.cpp
  // counts them: 8 layers, hidden 128, 2 heads of 16, full 512), which add up like a walk's steps;
  // a loss takes two logits, below 32.
  const double roundings = (8 + 1) * (3 * 128 + 16 + kContext + 2 * 16 + 512);
  const double tolerance = 2 * 2 * std::sqrt(roundings) * 0x1p-24 * 32;
  EXPECT_LE(apart(cpu, cuda, Metric::kLoss), tolerance);
  EXPECT_LE(apart(cpu, cuda, Metric::kKl), tolerance);
  expect_the_same_ranks(cpu, cuda);
}

TEST_F(ScoringCuda, InBf16GivesTheRanksOfTheCpuInF32) {
  MNM_NEEDS_CUDA_DEVICE();
  const std::vector<CandidateScores> cpu = score("cpu", Dtype::kF32);
  const test::OnCuda on_cuda(/*with_products=*/true);
  const std::vector<CandidateScores> cuda = score(test::kCudaDevice.str(), Dtype::kBF16);
  // Two logits below 32, rounded to bf16.
  EXPECT_LE(apart(cpu, cuda, Metric::kLoss), 2 * 32 * 0x1p-9);
  expect_the_same_ranks(cpu, cuda);
}

}  // namespace
}  // namespace mnm
