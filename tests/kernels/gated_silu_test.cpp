#include "kernels/gated_silu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace mnm {
namespace {

TEST(GatedSilu, AgreesWithTheDefinitionInDouble) {
  for (const std::size_t n : {0u, 1u, 7u, 8u, 33u, 4001u}) {
    std::vector<float> x(n), up(n);
    for (std::size_t i = 0; i < n; ++i) {
      x[i] = (static_cast<float>(i) - static_cast<float>(n) / 2) / 23;  // -87 to 87 at most
      up[i] = 1.5f - static_cast<float>(i % 7);
    }
    std::vector<float> out = x;
    gated_silu(out.data(), up.data(), static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
      const double expected = x[i] / (1 + std::exp(-static_cast<double>(x[i]))) * up[i];
      // exp within 2 units, and a sum, a quotient and two products of half a unit each: 5 units.
      // Below -86 exp stays at 4.5e-38: |x * up| times that.
      EXPECT_NEAR(out[i], expected, 5 * std::ldexp(std::abs(expected), -23) + 87 * 4.5 * 4.5e-38)
          << x[i];
    }
  }
}

TEST(GatedSilu, HoldsAtTheEndsOfTheRange) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x = {0, -0.0f, 1e30f, -1e30f, kInf, 1, kNaN, 1, -200, 200};
  const std::vector<float> up = {3, 3, 2, 2, 1, kInf, 1, kNaN, 1, 1};
  gated_silu(x.data(), up.data(), static_cast<std::int64_t>(x.size()));
  EXPECT_EQ(x[0], 0);
  EXPECT_EQ(x[1], 0);
  EXPECT_FLOAT_EQ(x[2], 2e30f);
  EXPECT_LE(std::abs(x[3]), 1e30f * 1e-37f);
  EXPECT_EQ(x[4], kInf);
  EXPECT_EQ(x[5], kInf);
  EXPECT_TRUE(std::isnan(x[6]));
  EXPECT_TRUE(std::isnan(x[7]));
  EXPECT_LE(std::abs(x[8]), 1e-35f);
  EXPECT_EQ(x[9], 200);
}

}  // namespace
}  // namespace mnm
