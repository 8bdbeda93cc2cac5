#include "cluster/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "eval/prefix_tree.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

std::vector<Widths> random_candidates(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Widths> all(n, Widths(5));
  for (Widths& candidate : all) {
    for (Width& width : candidate) width = static_cast<Width>(1 << random() % 4);
  }
  return all;
}

TEST(Partition, PartsHoldEachCandidateOnceAndKnowTheirPlansCost) {
  const NestedModel model = test::prefix_model(5, 8, {1, 2, 4, 8}, 50);
  for (const std::size_t n : {0, 1, 2, 37, 400}) {
    const std::vector<Widths> candidates = random_candidates(n, 3);
    for (const int workers : {1, 2, 3, 8}) {
      for (const double scored : {1.0, 0.25}) {
        const std::vector<Part> parts = partition(candidates, model, 32, scored, workers);
        std::vector<std::size_t> all;
        double largest = std::numeric_limits<double>::infinity();
        for (const Part& part : parts) {
          EXPECT_TRUE(std::ranges::is_sorted(part.indices));
          EXPECT_LE(part.flops, largest) << "largest first";
          largest = part.flops;
          std::vector<Widths> members;
          for (const std::size_t i : part.indices) members.push_back(candidates[i]);
          const double expected = cost_of(make_prefix_tree(members), model, 32, scored).shared;
          EXPECT_NEAR(part.flops, expected, 1e-9 * expected);
          all.insert(all.end(), part.indices.begin(), part.indices.end());
        }
        std::ranges::sort(all);
        ASSERT_EQ(all.size(), n);
        for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(all[i], i);
        if (workers > 1) continue;
        EXPECT_LE(parts.size(), 1u) << "alone nothing is cut";
      }
    }
  }
}

TEST(Partition, BalancesWithoutLosingTheSharing) {
  const NestedModel model = test::prefix_model(5, 8, {1, 2, 4, 8}, 50);
  std::vector<Widths> grid = {{}};
  for (int layer = 0; layer < 5; ++layer) {
    std::vector<Widths> longer;
    for (const Widths& prefix : grid) {
      for (const Width width : {1, 2, 4, 8}) {
        longer.push_back(prefix);
        longer.back().push_back(width);
      }
    }
    grid = std::move(longer);
  }
  const double whole = cost_of(make_prefix_tree(grid), model, 32).shared;
  for (const int workers : {2, 3, 5, 8}) {
    const std::vector<Part> parts = partition(grid, model, 32, 1, workers);
    double total = 0;
    for (const Part& part : parts) total += part.flops;
    EXPECT_GE(makespan(parts, workers), whole / workers * (1 - 1e-9)) << "no better than the bound";
    EXPECT_LT(makespan(parts, workers), 1.1 * whole / workers) << workers;
    EXPECT_LT(total, 1.1 * whole) << workers;
  }
}

TEST(Partition, MakespanIsThatOfTheLargestFirst) {
  const auto parts = [](std::vector<double> flops) {
    std::vector<Part> all;
    for (const double f : flops) all.push_back({{}, f});
    return all;
  };
  EXPECT_EQ(makespan(parts({5, 4, 3, 3, 3}), 2), 10);  // 5 + 3, 4 + 3 + 3
  EXPECT_EQ(makespan(parts({5, 4, 3, 3, 3}), 5), 5);
  EXPECT_EQ(makespan(parts({}), 3), 0);
}

}  // namespace
}  // namespace mnm
