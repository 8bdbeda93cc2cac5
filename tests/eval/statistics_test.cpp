#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(Statistics, MeanAndItsStandardError) {
  struct Case {
    std::vector<float> values;
    double mean, error;
  };
  const Case cases[] = {
      {{1, 1, 1, 1}, 1, 0},
      {{1, 3}, 2, 1},  // sd sqrt(2), over sqrt(2)
      {{1, 2, 3, 4}, 2.5, std::sqrt(5.0 / 3 / 4)},
      {{-1, 1, -1, 1}, 0, std::sqrt(4.0 / 3 / 4)},
  };
  for (const Case& c : cases) {
    const Estimate estimate = mean_of(c.values);
    EXPECT_DOUBLE_EQ(estimate.value, c.mean);
    EXPECT_DOUBLE_EQ(estimate.standard_error, c.error);
    EXPECT_EQ(estimate.samples, static_cast<std::int64_t>(c.values.size()));
  }
}

TEST(Statistics, AMillionEqualLossesHaveNoSpread) {
  // In f32 the running sum would stall and one pass over squares would cancel.
  const std::vector<float> values(1'000'000, 1.3765432f);
  EXPECT_NEAR(mean_of(values).value, static_cast<double>(1.3765432f), 1e-12);
  EXPECT_LT(mean_of(values).standard_error, 1e-12);
}

TEST(Statistics, NothingAndNaN) {
  EXPECT_TRUE(std::isnan(mean_of({}).value));
  EXPECT_EQ(mean_of({}).samples, 0);
  EXPECT_TRUE(std::isnan(mean_of({}).standard_error));
  const std::vector<float> values = {1, kNaN, 2};
  EXPECT_TRUE(std::isnan(mean_of(values).value));
  EXPECT_TRUE(std::isnan(mean_of(values).standard_error));
}

// One sample says nothing of its spread: an error of 0 would make any difference significant.
TEST(Statistics, TheErrorOfOneSampleIsUnknown) {
  const std::vector<float> one = {2.5f}, other = {2.0f};
  EXPECT_EQ(mean_of(one).value, 2.5);
  EXPECT_EQ(mean_of(one).samples, 1);
  EXPECT_TRUE(std::isnan(mean_of(one).standard_error));
  EXPECT_EQ(paired_difference(one, other).value, 0.5);
  EXPECT_TRUE(std::isnan(paired_difference(one, other).standard_error));
}

TEST(Statistics, APairedDifferenceIsTheMeanOfDifferences) {
  // The sequences differ widely, the models hardly: unpaired errors would be a thousand times more.
  const std::vector<float> b = {1, 5, 9, 13};
  const std::vector<float> a = {1.25f, 5.25f, 9.5f, 13.5f};
  const Estimate difference = paired_difference(a, b);
  EXPECT_DOUBLE_EQ(difference.value, 0.375);
  EXPECT_DOUBLE_EQ(difference.standard_error, std::sqrt(4 * 0.125 * 0.125 / 3 / 4));
  EXPECT_EQ(difference.samples, 4);
  EXPECT_DOUBLE_EQ(paired_difference(b, a).value, -0.375);
  EXPECT_EQ(paired_difference(a, a).standard_error, 0);
  const std::string refused = test::usage_error_of([&] { paired_difference(a, {b.data(), 3}); });
  EXPECT_TRUE(test::contains(refused, "losses of 4 sequences with losses of 3")) << refused;
}

// The distribution function of Student's t has closed forms for 1, 2 and 4 degrees of freedom.
TEST(Statistics, TheTTestAgreesWithItsClosedForms) {
  for (const double t : {-40.0, -3.0, -1.0, -0.01, 0.0, 0.3, 1.0, 2.5, 12.0}) {
    const double s = t / std::sqrt(2 + t * t), r = t / std::sqrt(4 + t * t);
    const std::pair<std::int64_t, double> below[] = {{2, 0.5 + std::atan(t) / std::acos(-1.0)},
                                                     {3, 0.5 + s / 2},
                                                     {5, 0.5 + 0.375 * 2 * r * (1 - r * r / 3)}};
    for (const auto& [samples, expected] : below) {
      EXPECT_NEAR(probability_below_zero({-t, 1, samples}), expected, 1e-13) << t << " " << samples;
      EXPECT_NEAR(p_of_zero({t, 1, samples}), 2 * std::min(expected, 1 - expected), 1e-13);
    }
    // Of a million samples it is the normal one, up to a term of t^3 / (4 n).
    EXPECT_NEAR(probability_below_zero({-t, 1, 1'000'000}), 0.5 * std::erfc(-t / std::sqrt(2.0)),
                1e-6);
  }
}

TEST(Statistics, WhatTheTTestSaysOfNothing) {
  EXPECT_EQ(p_of_zero({0, 0, 4}), 1);
  EXPECT_EQ(p_of_zero({1e-9, 0, 4}), 0);
  EXPECT_EQ(probability_below_zero({0, 0, 4}), 0.5);
  EXPECT_EQ(probability_below_zero({-1, 0, 4}), 1);
  EXPECT_EQ(p_of_zero({1e300, 1, 4}), 0);
  EXPECT_TRUE(std::isnan(p_of_zero({1, std::nan(""), 1})));
  EXPECT_TRUE(std::isnan(probability_below_zero({std::nan(""), 1, 3})));
}

TEST(Statistics, HolmCountsTheTests) {
  const double nan = std::nan("");
  const std::vector<double> p = {0.01, nan, 0.04, 0.03, 0.005};
  const std::vector<double> adjusted = holm(p);
  const double expected[] = {0.03, nan, 0.06, 0.06, 0.02};  // 3 x, -, max, 2 x, 4 x
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(adjusted[i]));
    } else {
      EXPECT_DOUBLE_EQ(adjusted[i], expected[i]) << i;
    }
  }
  EXPECT_TRUE(holm({}).empty());
  EXPECT_EQ(holm(std::vector<double>{0.9, 0.8}), (std::vector<double>{1, 1}));
}

}  // namespace
}  // namespace mnm
