#include "search/portable_math.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mnm {
namespace {

TEST(PortableMath, AgreesWithLibm) {
  for (double x = -700; x <= 700; x += 0.37) {
    EXPECT_NEAR(portable_exp(x) / std::exp(x), 1, 1e-13) << x;
  }
  for (double x = 1e-300; x < 1e300; x *= 1.7) {
    EXPECT_NEAR(portable_log(x), std::log(x), 1e-14 + 1e-14 * std::fabs(std::log(x))) << x;
    EXPECT_NEAR(portable_log2(x), std::log2(x), 1e-14 + 2e-14 * std::fabs(std::log2(x))) << x;
  }
  EXPECT_EQ(portable_exp(0), 1);
  EXPECT_EQ(portable_log(1), 0);
  EXPECT_EQ(portable_exp(-1e9), 0);
}

// phi(z) + z Phi(z) by libm, whose erfc keeps its digits where z > 0; below, what cancels costs up
// to z^2 times the rounding error.
TEST(PortableMath, ExpectedShortfallIsThatOfANormal) {
  for (double z = -6; z <= 8; z += 0.01) {
    const double density = std::exp(-0.5 * z * z) / std::sqrt(2 * M_PI);
    const double expected = density + z * 0.5 * std::erfc(-z / std::sqrt(2.0));
    const double cancelled = 1e-15 * density * z * z;
    EXPECT_NEAR(expected_shortfall(z, 0, 1), expected, 1e-9 * expected + cancelled) << z;
    EXPECT_NEAR(expected_shortfall(3 + 0.5 * z, 3, 0.5), 0.5 * expected,
                1e-9 * expected + cancelled);
  }
}

TEST(PortableMath, ExpectedShortfallOfACertainValue) {
  EXPECT_EQ(expected_shortfall(2, 0.5, 0), 1.5);
  EXPECT_EQ(expected_shortfall(0.5, 2, 0), 0);
  EXPECT_EQ(expected_shortfall(0, 1000, 1), 0);
  EXPECT_EQ(expected_shortfall(1000, 0, 1), 1000);
}

}  // namespace
}  // namespace mnm
