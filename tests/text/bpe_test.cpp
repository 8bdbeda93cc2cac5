#include "text/bpe.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/support/cpu_seconds.h"

namespace mnm {
namespace {

using Pairs = std::vector<std::pair<std::int32_t, std::int32_t>>;

TEST(BytePairMerges, TheLowestRankMergesFirstAndTheLeftmostOfEquals) {
  BytePairMerges merges(3);
  EXPECT_TRUE(merges.empty());
  merges.add(1, 1, 1, 2);
  merges.add(2, 1, 2, 3);
  merges.add(1, 4, 0, 5);
  std::vector<std::int64_t> out;
  merges.apply({1, 1, 1, 1, 4}, out);
  EXPECT_EQ(out, (std::vector<std::int64_t>{3, 5}));
}

// Whoever makes a tokenizer chooses the pairs. These fell on one place of the table that is indexed
// by the upper bits of the key's product with 2^64 / phi: multiples of the inverse of that number.
TEST(BytePairMerges, PairsThatSomebodyChoseCostAsMuchAsOthers) {
  constexpr std::uint64_t kPhi = 0x9e3779b97f4a7c15u;
  std::uint64_t inverse = kPhi;  // by Newton's iteration: each step doubles the bits that are right
  for (int i = 0; i < 6; ++i) inverse *= 2 - kPhi * inverse;
  ASSERT_EQ(kPhi * inverse, 1u);
  constexpr std::size_t kPairs = 40'000;
  Pairs chosen, ordinary;
  for (std::uint64_t i = 1; chosen.size() < kPairs; ++i) {
    const std::uint64_t key = inverse * i;
    if (key >> 63 == 0) chosen.emplace_back(key >> 32, static_cast<std::int32_t>(key));
  }
  for (std::size_t i = 0; i < kPairs; ++i) ordinary.emplace_back(i, i + 1);
  const auto cost = [](const Pairs& pairs) {
    return test::cpu_seconds([&] {
      BytePairMerges merges(pairs.size());
      for (const auto& [left, right] : pairs) merges.add(left, right, 0, 0);
    });
  };
  cost(ordinary);  // the first touch of the memory
  const double plain = cost(ordinary);
  EXPECT_LT(cost(chosen), 50 * plain) << "kPairs^2 / 2 comparisons are thousands of times as much";
}

}  // namespace
}  // namespace mnm
