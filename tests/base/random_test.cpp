#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace mnm {
namespace {

// The reference implementations (splitmix64.c, xoshiro256starstar.c of prng.di.unimi.it) give these
// from splitmix64 state 1234567.
TEST(Random, SequenceIsTheSpecifiedOne) {
  // Published check values of splitmix64 at 1234567: they are the first four words of state.
  const std::array<std::uint64_t, 4> state = {6457827717110365317u, 3203168211198807973u,
                                              9817491932198370423u, 4593380528125082431u};
  const auto rotl = [](std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
  Random random(1234567);
  EXPECT_EQ(random.next(), rotl(state[1] * 5, 7) * 9);
  // One step of the linear engine by hand, for the second word of state.
  EXPECT_EQ(random.next(), rotl((state[1] ^ state[2] ^ state[0]) * 5, 7) * 9);
}

TEST(Random, EqualSeedsAreEqualAndOthersAreNot) {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    Random a(seed), b(seed), c(seed + 1);
    bool differs = false;
    for (int i = 0; i < 100; ++i) {
      const std::uint64_t value = a.next();
      EXPECT_EQ(value, b.next());
      differs |= value != c.next();
    }
    EXPECT_TRUE(differs);
  }
}

TEST(Random, BelowIsUniform) {
  Random random(3);
  for (const std::uint64_t n : {1u, 2u, 3u, 7u, 100u}) {
    std::vector<double> counts(n, 0);
    constexpr double kDraws = 100'000;
    for (int i = 0; i < static_cast<int>(kDraws); ++i) {
      const std::uint64_t value = random.below(n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    const double expected = kDraws / static_cast<double>(n);
    double chi2 = 0;
    for (const double count : counts) chi2 += (count - expected) * (count - expected) / expected;
    // Mean n - 1, variance 2 (n - 1): five standard deviations.
    EXPECT_LT(chi2, static_cast<double>(n - 1) + 5 * std::sqrt(2.0 * static_cast<double>(n))) << n;
  }
  // Two thirds of the range of next(): a bare remainder would give the lower half twice as often.
  const std::uint64_t n = (std::uint64_t{1} << 63) + (std::uint64_t{1} << 62);
  int lower = 0;
  for (int i = 0; i < 10'000; ++i) lower += random.below(n) < n / 3 ? 1 : 0;
  EXPECT_NEAR(lower, 10'000 / 3.0, 5 * std::sqrt(10'000 * 2.0 / 9));
}

TEST(Random, UniformFillsItsInterval) {
  Random random(4);
  double sum = 0, low = 1, high = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 5 * std::sqrt(1.0 / 12 / 100'000));
  EXPECT_LT(low, 1e-3);
  EXPECT_GT(high, 1 - 1e-3);
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(random.chance(0));
    EXPECT_TRUE(random.chance(1));
  }
}

TEST(Random, ShuffleReachesEveryOrderAlike) {
  Random random(5);
  std::array<int, 6> counts{};
  for (int i = 0; i < 60'000; ++i) {
    std::vector<int> values = {0, 1, 2};
    random.shuffle(values);
    counts[static_cast<std::size_t>(values[0] * 2 + (values[1] > values[2] ? 1 : 0))]++;
  }
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 5 * std::sqrt(10'000.0));
  std::vector<int> none;
  random.shuffle(none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace mnm
