#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "search/feasible_set.h"
#include "search/subtree_counts.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

TEST(Grid, ExhaustiveInOrderWhereItFits) {
  for (const auto& [name, problem, small] : problems()) {
    if (!small) continue;
    const std::vector<Widths> expected = members_of(problem);
    for (const std::uint64_t room : {expected.size(), expected.size() + 1, std::size_t{1} << 40}) {
      const auto grid = make_strategy("grid", problem, {.max_evaluations = room});
      EXPECT_EQ(grid->total(), expected.size()) << name;
      EXPECT_EQ(trace(*grid, problem), expected) << name;
      EXPECT_NE(grid->description().find("all " + std::to_string(expected.size())),
                std::string::npos)
          << grid->description();
    }
  }
}

// At every prefix the sample is divided in proportion, to within one.
TEST(Grid, SampleIsEvenAtEveryPrefix) {
  for (const auto& [name, problem, small] : problems()) {
    for (const std::uint64_t room : {1u, 2u, 7u, 64u, 100u, 500u}) {
      const FeasibleSet set(problem);
      if (set.count(room + 1) <= room) continue;
      const auto grid = make_strategy("grid", problem, {.max_evaluations = room});
      const std::vector<Widths> sample = trace(*grid, problem);
      EXPECT_EQ(sample.size(), room) << name;
      EXPECT_NE(grid->description().find(fmt::format("even sample of {} of", room)),
                std::string::npos)
          << grid->description();
      std::vector<Levels> levels;
      for (const Widths& widths : sample) levels.push_back(set.levels_of(widths));
      EXPECT_TRUE(std::ranges::is_sorted(levels)) << name;
      EXPECT_EQ(std::set<Levels>(levels.begin(), levels.end()).size(), levels.size()) << name;
      if (problem.limits.size() > 1 || name == "not additive") continue;  // counts are estimates

      const SubtreeCounts counts(set);
      std::map<Levels, double> below;  // sampled members by prefix
      for (const Levels& member : levels) {
        for (std::size_t depth = 0; depth <= member.size(); ++depth) {
          ++below[Levels(member.begin(), member.begin() + static_cast<std::ptrdiff_t>(depth))];
        }
      }
      for (const auto& [prefix, sampled] : below) {
        if (prefix.empty()) continue;
        const Levels parent(prefix.begin(), prefix.end() - 1);
        const auto members = [&](Levels at) {
          const std::size_t depth = at.size();
          at.resize(set.layers(), 0);
          return counts.below(at, depth);
        };
        const double share = below[parent] * members(prefix) / members(parent);
        EXPECT_LT(std::abs(sampled - share), 1 + 1e-9)
            << name << " " << room << " depth " << prefix.size();
      }
    }
  }
}

// A stride through lexicographic order would leave the last layers at one level throughout.
TEST(Grid, SampleVariesInEveryLayer) {
  const SearchProblem problem{.space = four_widths(8), .cost = total_width, .limits = {}};
  const auto grid = make_strategy("grid", problem, {.max_evaluations = 1024});
  std::vector<std::map<Width, int>> seen(8);
  for (const Widths& widths : trace(*grid, problem)) {
    for (std::size_t layer = 0; layer < 8; ++layer) ++seen[layer][widths[layer]];
  }
  for (std::size_t layer = 0; layer < 8; ++layer) {
    for (const Width width : kWidths) {
      EXPECT_NEAR(seen[layer][width], 256, layer < 5 ? 0 : 5 * std::sqrt(256.0)) << layer;
    }
  }
}

TEST(Grid, PrefersWholeSubtrees) {
  const SearchProblem problem{.space = four_widths(8), .cost = total_width, .limits = {}};
  EXPECT_EQ(make_strategy("grid", problem, {.max_evaluations = 65536})->preferred_batch(), 1024u);
  const SearchProblem odd{.space = space_of(std::vector<std::vector<Width>>(9, {1, 2, 3})),
                          .cost = total_width,
                          .limits = {}};
  EXPECT_EQ(make_strategy("grid", odd, {.max_evaluations = 65536})->preferred_batch(), 729u);
}

}  // namespace
}  // namespace mnm
