#include "kernels/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace mnm {
namespace {

TEST(RmsNorm, AgreesWithTheDefinitionInDouble) {
  for (const std::int64_t n : {1, 7, 31, 32, 33, 128, 2048}) {
    for (const float scale : {0.0f, 1e-3f, 1.0f, 1e6f}) {
      std::mt19937 random(static_cast<unsigned>(n));
      std::normal_distribution<float> normal;
      std::vector<float> x(static_cast<std::size_t>(3 * n)), weight(static_cast<std::size_t>(n));
      for (float& value : x) value = scale * normal(random);
      for (float& value : weight) value = normal(random);
      std::vector<float> out(x.size()), in_place = x;
      rms_norm(x.data(), weight.data(), 3, n, 1e-5f, out.data());
      rms_norm(in_place.data(), weight.data(), 3, n, 1e-5f, in_place.data());
      EXPECT_EQ(in_place, out);
      for (std::int64_t r = 0; r < 3; ++r) {
        double sum = 0;
        const auto at = [&](std::int64_t i) { return static_cast<std::size_t>(r * n + i); };
        for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[at(i)]) * x[at(i)];
        const double rms = std::sqrt(sum / static_cast<double>(n) + 1e-5f);
        for (std::int64_t i = 0; i < n; ++i) {
          const double right = x[at(i)] / rms * weight[static_cast<std::size_t>(i)];
          // A lane sums n / 32 squares, all positive: half of n / 32 + 32 roundings survive the
          // root; six operations follow.
          const double roundings = static_cast<double>(n) / 64 + 16 + 6;
          EXPECT_NEAR(out[at(i)], right, roundings * std::ldexp(std::abs(right), -24))
              << n << " at " << i;
        }
      }
    }
  }
}

TEST(RmsNorm, NaNStaysInItsRow) {
  std::vector<float> x(3 * 40, 1.0f), weight(40, 1.0f);
  x[40 + 17] = std::numeric_limits<float>::quiet_NaN();
  rms_norm(x.data(), weight.data(), 3, 40, 0, x.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(x[i]), i / 40 == 1) << i;
}

}  // namespace
}  // namespace mnm
