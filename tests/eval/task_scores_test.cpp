#include "eval/task_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "eval/metrics.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<std::int64_t> all_of(const TaskFile& task) {
  std::vector<std::int64_t> documents(static_cast<std::size_t>(task.documents()));
  std::iota(documents.begin(), documents.end(), 0);
  return documents;
}

// Two questions of three and two choices.
TaskFile two_questions() {
  TaskFile task;
  task.scored = {1, 2, 4, 1, 1};
  task.document_begin = {0, 3, 5};
  task.gold = {1, 0};
  task.code_points = {1, 2, 8, 1, 1};
  task.bytes = {1, 2, 16, 1, 1};
  return task;
}

CandidateScores sums_of(const std::vector<float>& losses) {
  CandidateScores sums;
  sums[Metric::kLoss] = losses;
  return sums;
}

std::vector<float> value(const TaskFile& task, const std::vector<float>& losses, Metric metric) {
  return document_scores(task, all_of(task), sums_of(losses))[metric];
}

TEST(TaskScores, TheMostLikelyChoiceIsTheFirstOfTheLeastLoss) {
  const TaskFile task = two_questions();
  using Right = std::vector<float>;
  // By losses 1, 1.5, 6 the first wins; by characters 1, 0.75, 0.75 the second, as the first of
  // two; by bytes 1, 0.75, 0.375 the third.
  const std::vector<float> losses = {1, 1.5F, 6, 2, 2};
  EXPECT_EQ(value(task, losses, Metric::kAcc), (Right{0, 1}));
  EXPECT_EQ(value(task, losses, Metric::kAccNorm), (Right{1, 1}));
  EXPECT_EQ(value(task, losses, Metric::kAccBytes), (Right{0, 1}));
  EXPECT_EQ(value(task, losses, Metric::kLoss), (Right{0.75F, 2})) << "per token of the right one";
  EXPECT_TRUE(value(task, losses, Metric::kWordPerplexity).empty());
}

TEST(TaskScores, WhatIsNoNumberMakesItsDocumentNone) {
  const TaskFile task = two_questions();
  const auto acc = value(task, {1, 2, kNaN, 1, 2}, Metric::kAcc);
  EXPECT_TRUE(std::isnan(acc[0]));
  EXPECT_EQ(acc[1], 1);
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(value(task, {inf, 2, inf, inf, inf}, Metric::kAcc), (std::vector<float>{1, 1}));
}

TEST(TaskScores, OnlyTheChosenDocumentsCount) {
  const std::vector<std::int64_t> second = {1};
  const auto scores = document_scores(two_questions(), second, sums_of({1, 1, 1, 3, 2}));
  EXPECT_EQ(scores[Metric::kAcc], std::vector<float>{0});
  EXPECT_EQ(scores[Metric::kLoss], std::vector<float>{3});
}

TaskFile random_texts(std::mt19937& random, std::vector<float>& losses) {
  TaskFile task;
  task.protocol.kind = TaskKind::kTexts;
  task.document_begin = {0};
  for (int document = 0; document < 40; ++document) {
    double tokens = 0;
    for (auto window = random() % 3 + 1; window > 0; --window) {
      task.scored.push_back(1 + random() % 50);
      tokens += static_cast<double>(task.scored.back());
      losses.push_back(static_cast<float>(task.scored.back()) *
                       (2 + static_cast<float>(random() % 100) / 100));
    }
    task.document_begin.push_back(task.answers());
    task.words.push_back(1 + static_cast<std::int64_t>(tokens / 1.5));
    task.text_bytes.push_back(static_cast<std::int64_t>(4 * tokens));
  }
  return task;
}

double total(const auto& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// f32 values per document: the mean is off by their rounding.
constexpr double kRounding = 1e-6;

TEST(TaskScores, PerplexitiesAreOfAllTextsTogether) {
  std::mt19937 random(3);
  std::vector<float> losses;
  const TaskFile task = random_texts(random, losses);
  const double words = total(losses) / total(task.words);
  const double bytes = total(losses) / total(task.text_bytes);
  const auto estimate = [&](Metric metric) {
    return row_of(metric).estimate(value(task, losses, metric));
  };
  EXPECT_NEAR(estimate(Metric::kWordPerplexity).value / std::exp(words), 1, 10 * kRounding);
  EXPECT_NEAR(estimate(Metric::kBytePerplexity).value / std::exp(bytes), 1, 10 * kRounding);
  EXPECT_NEAR(estimate(Metric::kBitsPerByte).value / (bytes / std::log(2)), 1, kRounding);
}

// The jackknife leaves out a document at a time, and knows nothing of linearised values. Both are
// estimates of one number, and differ by terms of the order of one in the number of documents.
TEST(TaskScores, StandardErrorsOfRatiosAreThoseOfTheJackknife) {
  std::mt19937 random(5);
  std::vector<float> losses;
  const TaskFile task = random_texts(random, losses);
  const std::vector<std::int64_t> documents = all_of(task);
  const auto perplexity = [&](const std::vector<std::int64_t>& of) {
    const auto values = document_scores(task, of, sums_of(losses))[Metric::kWordPerplexity];
    return row_of(Metric::kWordPerplexity).estimate(values);
  };
  std::vector<double> without;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    std::vector<std::int64_t> others = documents;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    without.push_back(perplexity(others).value);
  }
  const double n = static_cast<double>(without.size()), mean = total(without) / n;
  double squares = 0;
  for (const double one : without) squares += (one - mean) * (one - mean);
  const double jackknife = std::sqrt((n - 1) / n * squares);
  EXPECT_NEAR(perplexity(documents).standard_error / jackknife, 1, 0.1);
}

TEST(TaskScores, TheDifferenceOfTwoPerplexitiesIsPaired) {
  std::mt19937 random(7);
  std::vector<float> losses;
  const TaskFile task = random_texts(random, losses);
  std::vector<float> more = losses;
  for (std::size_t i = 0; i < more.size(); ++i) more[i] += 0.01F * static_cast<float>(i % 3);
  const MetricRow& row = row_of(Metric::kWordPerplexity);
  const auto a = value(task, more, row.metric), b = value(task, losses, row.metric);
  const Estimate difference = row.difference(a, b);
  EXPECT_NEAR(difference.value, row.estimate(a).value - row.estimate(b).value, 1e-9);
  EXPECT_LT(difference.standard_error, 0.1 * row.estimate(a).standard_error);
  EXPECT_EQ(row.difference(a, a).value, 0);
  EXPECT_EQ(row.difference(a, a).standard_error, 0);
  EXPECT_NE(test::error_of([&] { row.difference(a, std::span(b).first(3)); }), "");
}

}  // namespace
}  // namespace mnm
