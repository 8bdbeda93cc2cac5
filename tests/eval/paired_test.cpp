#include "eval/paired.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

TEST(PairedDifference, APairedDifferenceIsTheMeanOfDifferences) {
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

}  // namespace
}  // namespace mnm
