#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

TEST(RandomSearch, TakesAllOfASmallSet) {
  for (const auto& [name, problem, small] : problems()) {
    if (!small) continue;
    const std::vector<Widths> expected = members_of(problem);
    const auto random = make_strategy("random", problem, {.max_evaluations = 1'000'000});
    const std::vector<Widths> asked = trace(*random, problem);
    EXPECT_EQ(std::set<Widths>(asked.begin(), asked.end()),
              std::set<Widths>(expected.begin(), expected.end()))
        << name;
    EXPECT_EQ(asked.size(), expected.size()) << name;
  }
}

// Over seeds, every member is as likely to be among the drawn, whether the set is shuffled (small
// beside the draws) or sampled.
TEST(RandomSearch, DrawsUniformly) {
  const SearchProblem problem{
      .space = four_widths(4), .cost = total_width, .limits = {{"width", 800, total_width}}};
  const std::vector<Widths> members = members_of(problem);
  ASSERT_GT(members.size(), 64u);
  for (const std::uint64_t draws : {std::uint64_t{8}, std::uint64_t{members.size() / 2}}) {
    constexpr int kSeeds = 2000;
    std::map<Widths, double> counts;
    for (int seed = 0; seed < kSeeds; ++seed) {
      const auto random = make_strategy(
          "random", problem, {.seed = static_cast<std::uint64_t>(seed), .max_evaluations = draws});
      for (const Widths& widths : random->ask(draws)) ++counts[widths];
    }
    const double share = static_cast<double>(draws) / static_cast<double>(members.size());
    const double bound = 5 * std::sqrt(kSeeds * share * (1 - share));
    for (const Widths& widths : members) {
      EXPECT_NEAR(counts[widths], kSeeds * share, bound) << to_string(widths) << " " << draws;
    }
  }
}

// The hard case for rejection: 4^80 submodels, of which a few thousand fit.
TEST(RandomSearch, TightBudgetsInLargeSpacesAreQuick) {
  const SearchProblem problem{.space = four_widths(80),
                              .cost = total_width,
                              .limits = {{"width", 80 * 64 + 128, total_width}}};
  // Two layers at 128, one, or none: 80 * 79 / 2 + 80 + 1.
  const auto random = make_strategy("random", problem, {.max_evaluations = 100'000});
  EXPECT_EQ(random->total(), 3241u);
  const std::vector<Widths> asked = trace(*random, problem);
  EXPECT_EQ(std::set<Widths>(asked.begin(), asked.end()).size(), 3241u);
}

}  // namespace
}  // namespace mnm
