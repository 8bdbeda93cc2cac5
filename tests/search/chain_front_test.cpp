#include "search/chain_front.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "search/hypervolume.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

PairTable random_losses(const FeasibleSet& set, Random& random, bool pairs) {
  std::vector<std::int32_t> levels;
  for (std::size_t l = 0; l < set.layers(); ++l) levels.push_back(set.levels(l));
  PairTable table(levels);
  for (std::size_t l = 0; l < set.layers(); ++l) {
    for (std::int32_t a = 0; a < levels[l]; ++a) {
      table.single(l, a) = random.uniform();
      if (!pairs || l + 1 == set.layers()) continue;
      for (std::int32_t b = 0; b < levels[l + 1]; ++b)
        table.pair(l, l + 1, a, b) = random.uniform();
    }
  }
  return table;
}

ChainProblem problem_of(const FeasibleSet& set, const AdditiveCost& cost, const PairTable& losses) {
  ChainProblem problem{set, cost, {}, {}, &losses};
  for (const Limit& limit : set.problem().limits) problem.limits.emplace_back(set, limit.cost);
  for (std::size_t l = 0; l < set.layers(); ++l) {
    problem.single.emplace_back();
    for (std::int32_t a = 0; a < set.levels(l); ++a)
      problem.single[l].push_back(losses.single(l, a));
  }
  return problem;
}

// On every small problem whose costs are additive: the front of all members, point for point.
TEST(ChainFront, IsTheFrontOfAllMembers) {
  Random random(3);
  for (const auto& [title, problem, small] : problems()) {
    if (!small || title == "not additive") continue;
    const FeasibleSet set(problem);
    const AdditiveCost cost(set, problem.cost);
    ASSERT_TRUE(cost.additive()) << title;
    for (const bool pairs : {false, true}) {
      const PairTable losses = random_losses(set, random, pairs);
      std::vector<Point> all, found;
      for (const Widths& widths : members_of(problem)) {
        all.push_back({problem.cost(widths), losses.value(set.levels_of(widths))});
      }
      for (const Levels& member : chain_front(problem_of(set, cost, losses))) {
        EXPECT_TRUE(set.contains(member)) << title;
        found.push_back({cost.of(member), losses.value(member)});
      }
      const std::vector<std::size_t> front = front_of(all);
      ASSERT_EQ(found.size(), front.size()) << title;
      for (std::size_t i = 0; i < front.size(); ++i) {
        EXPECT_EQ(found[i].cost, all[front[i]].cost) << title;
        EXPECT_NEAR(found[i].loss, all[front[i]].loss, 1e-12) << title;
      }
    }
  }
}

TEST(ChainFront, ThinnedStatesStillCoverNearlyAll) {
  const SearchProblem problem{.space = four_widths(40), .cost = squares, .limits = {}};
  const FeasibleSet set(problem);
  const AdditiveCost cost(set, problem.cost);
  Random random(4);
  const PairTable losses = random_losses(set, random, true);
  ChainProblem chain = problem_of(set, cost, losses);
  const auto area = [&](std::size_t states) {
    chain.states = states;
    std::vector<Point> points;
    for (const Levels& member : chain_front(chain)) {
      points.push_back({cost.of(member), losses.value(member)});
    }
    return hypervolume(points, {cost.of(set.widest()), 80});
  };
  EXPECT_GE(area(128), 0.995 * area(100'000));
}

}  // namespace
}  // namespace mnm
