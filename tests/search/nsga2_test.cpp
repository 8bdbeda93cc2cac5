#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "heuristics/least_slope.h"
#include "tests/search/problems.h"
#include "tests/search/table.h"

namespace mnm {
namespace {

using namespace test;

TEST(Evolution, FirstGenerationIsHalfHeuristic) {
  const SearchProblem problem{.space = four_widths(8), .cost = total_width, .limits = {}};
  const std::vector<Widths> heuristic = least_slope_schedule(problem.space);
  for (const std::size_t population : {4u, 20u, 64u}) {
    const auto evolution = make_strategy("evolution", problem, {.population = population});
    ASSERT_EQ(evolution->preferred_batch(), population);
    const std::vector<Widths> first = evolution->ask(1000);
    ASSERT_EQ(first.size(), population);
    const auto kept = static_cast<std::size_t>(std::ranges::count_if(first, [&](const Widths& w) {
      return std::ranges::find(heuristic, w) != heuristic.end();
    }));
    EXPECT_GE(kept, std::min(heuristic.size(), population / 2));
    for (const Widths& end : {heuristic.front(), heuristic.back()}) {
      EXPECT_NE(std::ranges::find(first, end), first.end()) << to_string(end);
    }
  }
}

TEST(Evolution, BreedsWhenAllResultsAreIn) {
  const SearchProblem problem{.space = four_widths(8), .cost = total_width, .limits = {}};
  const auto evolution =
      make_strategy("evolution", problem, {.max_evaluations = 100, .population = 32});
  const std::vector<Widths> first = evolution->ask(1000);
  ASSERT_EQ(first.size(), 32u);
  for (const Widths& widths : first) {
    EXPECT_TRUE(evolution->ask(1).empty());
    EXPECT_FALSE(evolution->finished());
    evolution->tell(widths, result_of(problem, widths));
  }
  EXPECT_EQ(evolution->ask(1000).size(), 32u);
}

// On every landscape: nearly all of the exhaustive front, and more of it than random every time.
TEST(Evolution, FindsTheFrontsOfSyntheticTables) {
  for (const Landscape& landscape : landscapes()) {
    const LossTable table(synthetic_losses(landscape, 8));
    const LossTable::Exhaustive all = table.exhaustive();
    double sum = 0;
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      const double evolved =
          table.share_found("evolution", all, {.seed = seed, .max_evaluations = 1311});
      sum += evolved;
      EXPECT_GE(evolved, 0.99) << landscape.name << " seed " << seed;
      EXPECT_GT(evolved, table.share_found("random", all, {.seed = seed, .max_evaluations = 1311}))
          << landscape.name << " seed " << seed;
    }
    EXPECT_GE(sum / 10, 0.998) << landscape.name;
  }
}

}  // namespace
}  // namespace mnm
