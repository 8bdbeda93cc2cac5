#include "eval/standard_error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "eval/paired.h"

namespace mnm {
namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(StandardError, MeanAndItsStandardError) {
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

TEST(StandardError, AMillionEqualLossesHaveNoSpread) {
  // In f32 the running sum would stall and one pass over squares would cancel.
  const std::vector<float> values(1'000'000, 1.3765432f);
  EXPECT_NEAR(mean_of(values).value, static_cast<double>(1.3765432f), 1e-12);
  EXPECT_LT(mean_of(values).standard_error, 1e-12);
}

TEST(StandardError, NothingAndNaN) {
  const std::vector<float> none;
  EXPECT_TRUE(std::isnan(mean_of(none).value));
  EXPECT_EQ(mean_of(none).samples, 0);
  EXPECT_TRUE(std::isnan(mean_of(none).standard_error));
  const std::vector<float> values = {1, kNaN, 2};
  EXPECT_TRUE(std::isnan(mean_of(values).value));
  EXPECT_TRUE(std::isnan(mean_of(values).standard_error));
}

// One sample says nothing of its spread: an error of 0 would make any difference significant.
TEST(StandardError, TheErrorOfOneSampleIsUnknown) {
  const std::vector<float> one = {2.5f}, other = {2.0f};
  EXPECT_EQ(mean_of(one).value, 2.5);
  EXPECT_EQ(mean_of(one).samples, 1);
  EXPECT_TRUE(std::isnan(mean_of(one).standard_error));
  EXPECT_EQ(paired_difference(one, other).value, 0.5);
  EXPECT_TRUE(std::isnan(paired_difference(one, other).standard_error));
}

}  // namespace
}  // namespace mnm
