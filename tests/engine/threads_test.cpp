// The Llama fold under the evaluator's threads: what several threads score, each batches of its
// own through one fold, is what one thread scores.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "dataset/tokens.h"
#include "engine/weight_reader.h"
#include "families/open_model.h"
#include "fold/evaluator.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using test::TinyLlama;

constexpr std::int64_t kContext = 21, kSequences = 32;

TokenExamples random_data(std::int64_t vocab) {
  TokenExamples data;
  data.context = kContext;
  data.count = kSequences;
  std::mt19937 random(3);
  for (std::int64_t i = 0; i <= kContext * kSequences; ++i) {
    data.tokens.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab)));
  }
  return data;
}

std::vector<Widths> random_candidates(const WidthSpace& space) {
  std::mt19937 random(5);
  std::vector<Widths> all = {space.full()};
  for (int i = 0; i < 20; ++i) {
    Widths& widths = all.emplace_back();
    for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
      const std::vector<Width> choices = space.choices(layer);
      widths.push_back(choices[random() % choices.size()]);
    }
  }
  return all;
}

// A model from its files, scored with so many threads.
class ScoredLlama {
 public:
  ScoredLlama(const TinyLlama& llama, const std::filesystem::path& directory)
      : opened_(open_model(llama.write(directory))),
        reader_(opened_.checkpoint, at::kCPU, Dtype::kF32),
        fold_(make_fold(
            {opened_.model, [this](const std::string& name) { return reader_.read(name); }})) {}

  std::vector<CandidateScores> score(int threads) {
    at::set_num_threads(threads);
    ScoreOptions options;
    options.metrics = {Metric::kKl};
    return score_candidates(*fold_, opened_.model, at::kCPU, random_candidates(opened_.model.space),
                            random_data(opened_.model.vocab_size), options, {}, {});
  }

 private:
  OpenedModel opened_;
  WeightReader reader_;
  std::unique_ptr<Fold> fold_;
};

float worst(const std::vector<CandidateScores>& a, const std::vector<CandidateScores>& b,
            Metric metric) {
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t s = 0; s < a[i][metric].size(); ++s) {
      const float difference = std::abs(a[i][metric][s] - b[i][metric][s]);
      if (!(difference <= worst)) worst = difference;  // NaN stays
    }
  }
  return worst;
}

TEST(Threads, ScoreWhatOneThreadScores) {
  std::vector<TinyLlama> variants = test::tiny_llamas();
  for (std::size_t i : {0u, 2u}) {  // shapes for which the attention kernel is there
    TinyLlama& llama = variants.emplace_back(variants[i]);
    llama.name += " with heads of 32";
    llama.head_dim = 32;
  }
  for (const TinyLlama& llama : variants) {
    const test::TempDir dir;
    ScoredLlama model(llama, dir / "model");
    const std::vector<CandidateScores> one = model.score(1);
    // Two threads take batches of another size, so products may add up in another order: a logit
    // moves by the products on its path (tests/families/llama_fold_test.cpp counts them), a loss or
    // a KL by twice as much. Logits of these models stay below 64.
    const double roundings = static_cast<double>(llama.layers + 1) *
                             static_cast<double>(3 * llama.hidden + llama.head_size() + kContext +
                                                 llama.heads * llama.head_size() + llama.full);
    const double tolerance = 2 * roundings * 0x1p-24 * 64;
    for (const int threads : {2, 5, 8}) {
      const std::vector<CandidateScores> many = model.score(threads);
      EXPECT_LE(worst(one, many, Metric::kLoss), tolerance) << llama.name;
      EXPECT_LE(worst(one, many, Metric::kKl), tolerance) << llama.name;
      // Which thread took which batch changes nothing: the same bits, however often.
      for (int again = 0; again < 2; ++again) {
        const std::vector<CandidateScores> same = model.score(threads);
        for (std::size_t i = 0; i < one.size(); ++i) {
          ASSERT_EQ(same[i][Metric::kLoss], many[i][Metric::kLoss])
              << llama.name << ", " << threads << " threads";
          ASSERT_EQ(same[i][Metric::kKl], many[i][Metric::kKl])
              << llama.name << ", " << threads << " threads";
          ASSERT_EQ(same[i][Metric::kAgreement], many[i][Metric::kAgreement])
              << llama.name << ", " << threads;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mnm
