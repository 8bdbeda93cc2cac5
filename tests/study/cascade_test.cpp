#include "study/cascade.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "tests/db/stores.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

// Accuracies of 0 or 1. The narrow one is right as often as it says it is; confidences have few
// values, so that many are equal.
CascadeExamples drawn(std::size_t count, std::uint32_t seed, unsigned values) {
  std::mt19937 random(seed);
  CascadeExamples examples;
  for (std::size_t i = 0; i < count; ++i) {
    const float sure = static_cast<float>(random() % values + 1) / static_cast<float>(values);
    examples.confidence.push_back(sure);
    examples.narrow.push_back(static_cast<float>(random() % 1000) < 1000 * sure ? 1.0F : 0.0F);
    examples.wide.push_back(random() % 10 < 9 ? 1.0F : 0.0F);
  }
  return examples;
}

// Example by example, in whole numbers: what a cascade is by its definition.
TEST(Cascade, IsItsDefinitionAtEveryThreshold) {
  const CascadeFlops flops = {100, 700};
  for (const std::size_t count : {1, 2, 7, 500}) {
    const CascadeExamples examples = drawn(count, static_cast<std::uint32_t>(count), 13);
    for (const float threshold : cascade_thresholds(examples.confidence, 9)) {
      std::int64_t spent = 0, right = 0, gained = 0, gained_squared = 0, unsure = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const bool goes_on = !(examples.confidence[i] >= threshold);
        const bool hit = (goes_on ? examples.wide : examples.narrow)[i] == 1;
        const int more = static_cast<int>(hit) - static_cast<int>(examples.wide[i] == 1);
        spent += 100 + (goes_on ? 700 : 0);
        unsure += goes_on;
        right += hit;
        gained += more;
        gained_squared += more * more;
        EXPECT_EQ(cascade_accuracy(examples, threshold)[i], hit ? 1 : 0);
      }
      const double n = static_cast<double>(count);
      const CascadeScore score = cascade_score(examples, flops, threshold);
      EXPECT_DOUBLE_EQ(score.flops, static_cast<double>(spent) / n);
      EXPECT_DOUBLE_EQ(score.goes_on, static_cast<double>(unsure) / n);
      EXPECT_DOUBLE_EQ(score.accuracy.value, static_cast<double>(right) / n);
      const double mean = static_cast<double>(gained) / n;
      EXPECT_NEAR(score.to_wide.value, mean, 1e-12);
      EXPECT_EQ(score.to_wide.samples, static_cast<std::int64_t>(count));
      if (count < 2) continue;
      const double variance = (static_cast<double>(gained_squared) - n * mean * mean) / (n - 1);
      EXPECT_NEAR(score.to_wide.standard_error, std::sqrt(variance / n), 1e-9);
    }
  }
}

TEST(Cascade, ThresholdsGoFromAllNarrowToAllWideInEqualSteps) {
  const CascadeExamples examples = drawn(1000, 3, 1u << 20);
  const std::vector<float> thresholds = cascade_thresholds(examples.confidence, 20);
  ASSERT_EQ(thresholds.size(), 21u);
  for (std::size_t i = 0; i < thresholds.size(); ++i) {
    const double share = cascade_score(examples, {1, 2}, thresholds[i]).goes_on;
    EXPECT_NEAR(share, static_cast<double>(i) / 20, 0.002) << i;
  }
  EXPECT_EQ(cascade_accuracy(examples, thresholds.front()), examples.narrow);
  EXPECT_EQ(cascade_accuracy(examples, thresholds.back()), examples.wide);
  // All alike: they go on together or not at all. Also where nothing can be surer.
  const std::vector<float> alike(5, 1.0F);
  const std::vector<float> two = cascade_thresholds(alike, 20);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0], 1.0F);
  EXPECT_GT(two[1], 1.0F);
  EXPECT_TRUE(cascade_thresholds({}, 20).empty());
  EXPECT_EQ(cascade_thresholds(std::vector<float>{0.5F, 0.25F}, 1).size(), 2u);
}

CascadeScore score_of(double flops, double accuracy, double to_wide) {
  CascadeScore score;
  score.flops = flops;
  score.accuracy = {accuracy, 0.01, 100};
  score.to_wide = {to_wide, 0.01, 100};
  return score;
}

TEST(Cascade, TheThresholdIsTheCheapestOrTheBestWithinABudget) {
  const std::vector<CascadeScore> scores = {score_of(10, 0.80, -0.10), score_of(20, 0.91, 0.01),
                                            score_of(30, 0.89, -0.01), score_of(40, 0.91, 0.01),
                                            score_of(50, 0.90, 0.00)};
  EXPECT_EQ(chosen_threshold(scores, {}), 1u);
  EXPECT_EQ(chosen_threshold(scores, {.keep_accuracy = 0.1}), 0u);
  EXPECT_FALSE(chosen_threshold(scores, {.budget_flops = 9}));
  EXPECT_EQ(chosen_threshold(scores, {.budget_flops = 10}), 0u);
  EXPECT_EQ(chosen_threshold(scores, {.budget_flops = 100}), 1u) << "of equal ones the cheapest";
  EXPECT_EQ(chosen_threshold(scores, {.keep_accuracy = 1, .budget_flops = 29}), 1u);
  EXPECT_EQ(chosen_threshold(std::span(scores).last(1), {}), 0u) << "B itself, after A";
  EXPECT_FALSE(chosen_threshold({}, {}));
}

TEST(Cascade, ValuesThatDoNotBelongTogetherAreRefused) {
  const auto error = [](const CascadeExamples& examples) {
    return test::usage_error_of([&] { require_cascade(examples, "set"); });
  };
  EXPECT_EQ(error({{0.5F}, {1}, {1}}), "");
  EXPECT_TRUE(test::contains(error({{0.5F}, {1}, {1, 0}}), "different examples: on set"));
  EXPECT_TRUE(test::contains(error({{0.5F, 1}, {1}, {1}}), "2 confidences"));
  EXPECT_TRUE(test::contains(error({}), "different examples"));
  EXPECT_EQ(error({{1.0000002F, 0}, {1, 0}, {0, 1}}), "") << "f32's rounding";
  const float inf = std::numeric_limits<float>::infinity();
  for (const auto& [value, text] :
       {std::pair(std::numeric_limits<float>::quiet_NaN(), "nan"), std::pair(inf, "inf"),
        std::pair(-inf, "-inf"), std::pair(1.5F, "1.5"), std::pair(-0.25F, "-0.25")}) {
    const std::string said = fmt::format("is {}, expected 0 to 1", text);
    EXPECT_TRUE(test::contains(error({{1, value}, {1, 1}, {1, 1}}),
                               "the confidence of its example 1 " + said));
    EXPECT_TRUE(test::contains(error({{1, 1}, {value, 1}, {1, 1}}),
                               "the accuracy of its example 0 " + said));
    EXPECT_TRUE(test::contains(error({{1, 1}, {1, 1}, {value, 1}}),
                               "the accuracy of its example 0 " + said));
  }
}

TEST(Cascade, AVerdictNeedsMoreThanChance) {
  EXPECT_EQ(cascade_verdict({0.05, 0.01, 100}), "better");
  EXPECT_EQ(cascade_verdict({-0.05, 0.01, 100}), "worse");
  EXPECT_EQ(cascade_verdict({0.01, 0.01, 100}), "not distinguishable");
  EXPECT_EQ(cascade_verdict({0, 0, 100}), "not distinguishable");
  EXPECT_EQ(cascade_verdict({0.5, std::nan(""), 1}), "not distinguishable");
}

TEST(Cascade, TheSingleSubmodelIsTheMostAccurateThatCostsNoMore) {
  const test::TempDir dir;
  Store store = Store::open(dir.path() / "s.db", Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t run =
      store.begin_run(test::run_row(model, store.data(test::data_row("search"))));
  const auto add = [&](const Widths& widths, std::int64_t flops, double accuracy) {
    Score score = test::score(widths, 3, flops);
    score.cost.flops = flops;
    score.metrics[Metric::kAccuracy] = Measured{accuracy, 0.01};
    return store.add(run, std::vector<Score>{score}).front();
  };
  const Record narrow = add({64, 64}, 100, 0.5);
  const Record middle = add({64, 128}, 200, 0.7);
  add({128, 64}, 300, 0.6);  // beaten
  const Record wide = add({128, 128}, 400, 0.8);
  EXPECT_FALSE(best_single(store, narrow, 99.5));
  EXPECT_EQ(best_single(store, narrow, 100)->id, narrow.id);
  EXPECT_EQ(best_single(store, narrow, 199.99)->id, narrow.id);
  EXPECT_EQ(best_single(store, wide, 399.5)->id, middle.id);
  for (const double most : {1e9, 1e30}) EXPECT_EQ(best_single(store, narrow, most)->id, wide.id);
}

}  // namespace
}  // namespace mnm
