// Against the definition: at each step the error of every set that could be next, summed anew.
#include "neurons/greedy_removal.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <set>

namespace mnm {
namespace {

// X^T X * (W^T W), as calibration gives it: channels that are alike and channels that cancel.
std::vector<float> random_removal(std::size_t n, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const std::size_t rows = 2 * n, out = 3;
  std::vector<std::vector<double>> x(n), w(n);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t r = 0; r < rows; ++r) x[c].push_back(normal(random) + (c % 3 == 0 ? 1 : 0));
    for (std::size_t o = 0; o < out; ++o) w[c].push_back(normal(random));
  }
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  std::vector<float> removal(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      removal[i * n + j] = static_cast<float>(dot(x[i], x[j]) * dot(w[i], w[j]));
    }
  }
  return removal;
}

double error_of(const std::vector<float>& removal, std::size_t channels, std::size_t each,
                const std::set<std::int32_t>& out) {
  double sum = 0;
  for (std::size_t a = 0; a < channels; ++a) {
    for (std::size_t b = 0; b < channels; ++b) {
      if (out.contains(static_cast<std::int32_t>(a / each)) &&
          out.contains(static_cast<std::int32_t>(b / each))) {
        sum += removal[a * channels + b];
      }
    }
  }
  return sum;
}

TEST(GreedyRemoval, LeavesOutWhatCostsLeastAtEachStep) {
  for (const std::size_t each : {1u, 2u, 3u}) {
    for (std::uint32_t seed = 1; seed <= 4; ++seed) {
      const std::size_t channels = 18, n = channels / each;
      const std::vector<float> removal = random_removal(channels, seed);
      const std::vector<std::int32_t> gone =
          greedy_removal(removal, static_cast<std::int64_t>(each));
      ASSERT_EQ(gone.size(), n);
      std::set<std::int32_t> out;
      for (const std::int32_t next : gone) {
        double least = std::numeric_limits<double>::infinity(), chosen = least;
        for (std::int32_t candidate = 0; candidate < static_cast<std::int32_t>(n); ++candidate) {
          if (out.contains(candidate)) continue;
          std::set<std::int32_t> with = out;
          with.insert(candidate);
          const double error = error_of(removal, channels, each, with);
          least = std::min(least, error);
          if (candidate == next) chosen = error;
        }
        // Sums of 324 f32 numbers of size up to 1e3, in two orders.
        EXPECT_NEAR(chosen, least, 1e-3) << "each " << each << ", seed " << seed;
        EXPECT_TRUE(out.insert(next).second);
      }
    }
  }
}

TEST(GreedyRemoval, OfEqualOnesLeavesOutTheLast) {
  const std::vector<float> removal = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  EXPECT_EQ(greedy_removal(removal, 1), (std::vector<std::int32_t>{2, 1, 0}));
  EXPECT_TRUE(greedy_removal({}, 1).empty());
}

}  // namespace
}  // namespace mnm
