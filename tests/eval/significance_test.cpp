#include "eval/significance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mnm {
namespace {

// The distribution function of Student's t has closed forms for 1, 2 and 4 degrees of freedom.
TEST(Significance, TheTTestAgreesWithItsClosedForms) {
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

TEST(Significance, WhatTheTTestSaysOfNothing) {
  EXPECT_EQ(p_of_zero({0, 0, 4}), 1);
  EXPECT_EQ(p_of_zero({1e-9, 0, 4}), 0);
  EXPECT_EQ(probability_below_zero({0, 0, 4}), 0.5);
  EXPECT_EQ(probability_below_zero({-1, 0, 4}), 1);
  EXPECT_EQ(p_of_zero({1e300, 1, 4}), 0);
  EXPECT_TRUE(std::isnan(p_of_zero({1, std::nan(""), 1})));
  EXPECT_TRUE(std::isnan(probability_below_zero({std::nan(""), 1, 3})));
}

TEST(Significance, HolmCountsTheTests) {
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
