#include "search/candidate_pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "search/hypervolume.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

// Losses that fall with width, with terms of all pairs.
PairTable falling_losses(const FeasibleSet& set, Random& random) {
  std::vector<std::int32_t> levels;
  for (std::size_t l = 0; l < set.layers(); ++l) levels.push_back(set.levels(l));
  PairTable table(levels);
  for (std::size_t l = 0; l < set.layers(); ++l) {
    const double weight = 0.5 + random.uniform();
    for (std::int32_t a = 0; a < levels[l]; ++a) table.single(l, a) = weight / (1 + a);
    for (std::size_t m = l + 1; m < set.layers(); ++m) {
      for (std::int32_t a = 0; a < levels[l]; ++a) {
        for (std::int32_t b = 0; b < levels[m]; ++b) {
          table.pair(l, m, a, b) = 0.05 * (random.uniform() - 0.5);
        }
      }
    }
  }
  return table;
}

double area(const FeasibleSet& set, const PairTable& losses, const std::vector<Candidate>& found) {
  std::vector<Point> points;
  for (const Candidate& candidate : found) {
    EXPECT_EQ(candidate.cost, set.problem().cost(set.widths(candidate.levels)));
    EXPECT_TRUE(set.contains(candidate.levels));
    points.push_back({candidate.cost, losses.value(candidate.levels)});
  }
  return hypervolume(points, {total_width(set.widths(set.widest())) + 1, 20});
}

// The members that were not listed are searched for; of a space that can be listed, both find the
// same front.
TEST(CandidatePool, SearchedFindsWhatListedFinds) {
  Random random(5);
  for (const double budget : {1e9, 8 * 192.0}) {
    const SearchProblem problem{
        .space = four_widths(8), .cost = total_width, .limits = {{"width", budget, total_width}}};
    const FeasibleSet set(problem);
    for (int round = 0; round < 3; ++round) {
      const PairTable losses = falling_losses(set, random);
      LevelsSet taken;
      for (const Candidate& one : make_listed_pool(set)->near_front(losses, taken, 20)) {
        taken.insert(one.levels);
      }
      const auto listed = make_listed_pool(set)->near_front(losses, taken, 400);
      const auto searched = make_searched_pool(set)->near_front(losses, taken, 400);
      for (const Candidate& one : searched) EXPECT_FALSE(taken.contains(one.levels));
      EXPECT_GE(area(set, losses, searched), 0.9999 * area(set, losses, listed));
    }
  }
}

TEST(CandidatePool, ListedPutsTheFrontFirst) {
  Random random(6);
  const SearchProblem problem{.space = four_widths(5), .cost = total_width, .limits = {}};
  const FeasibleSet set(problem);
  const PairTable losses = falling_losses(set, random);
  std::vector<Point> all;
  for (const Widths& widths : members_of(problem)) {
    all.push_back({total_width(widths), losses.value(set.levels_of(widths))});
  }
  const std::size_t front = front_of(all).size();
  const auto near = make_listed_pool(set)->near_front(losses, {}, front);
  std::vector<Point> found;
  for (const Candidate& one : near) found.push_back({one.cost, losses.value(one.levels)});
  EXPECT_EQ(hypervolume(found, {5000, 20}), hypervolume(all, {5000, 20}));
  EXPECT_EQ(make_listed_pool(set)->near_front(losses, {}, 5000).size(), 1024u);
}

// Every kind of space, also where costs are not sums and where nothing is left to find.
TEST(CandidatePool, SearchedFindsMembersOfEveryProblem) {
  Random random(7);
  for (const auto& [title, problem, small] : problems()) {
    const FeasibleSet set(problem);
    const PairTable losses = falling_losses(set, random);
    const auto found = make_searched_pool(set)->near_front(losses, {}, 100);
    EXPECT_FALSE(found.empty()) << title;
    LevelsSet distinct;
    for (const Candidate& one : found) {
      EXPECT_TRUE(set.contains(one.levels)) << title;
      EXPECT_TRUE(distinct.insert(one.levels).second) << title;
    }
  }
}

}  // namespace
}  // namespace mnm
