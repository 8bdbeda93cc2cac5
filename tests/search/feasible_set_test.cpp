#include "search/feasible_set.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "search/subtree_counts.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

TEST(FeasibleSet, WalksAndCountsWhatIsFeasible) {
  for (const auto& [name, problem, small] : problems()) {
    if (!small) continue;
    const std::vector<Widths> expected = members_of(problem);
    const FeasibleSet set(problem);
    std::vector<Widths> walked;
    Levels member = set.narrowest();
    do {
      walked.push_back(set.widths(member));
      EXPECT_EQ(set.levels_of(walked.back()), member);
    } while (set.advance(member) && walked.size() <= expected.size());
    EXPECT_EQ(walked, expected) << name;
    EXPECT_EQ(member, set.narrowest()) << name;  // around the end
    const std::uint64_t size = expected.size();
    for (const std::uint64_t cap :
         {std::uint64_t{0}, std::uint64_t{1}, size - 1, size, size + 1, std::uint64_t{1} << 40}) {
      EXPECT_EQ(set.count(cap), std::min(cap, size)) << name << " " << cap;
    }
  }
}

TEST(FeasibleSet, CountsLargeSpacesUpToTheCap) {
  for (const std::uint64_t cap : {std::uint64_t{1000}, std::uint64_t{100'000}}) {
    EXPECT_EQ(FeasibleSet({.space = four_widths(80), .cost = total_width, .limits = {}}).count(cap),
              cap);
    EXPECT_EQ(FeasibleSet({.space = four_widths(80),
                           .cost = total_width,
                           .limits = {{"width", 80 * 128, total_width}}})
                  .count(cap),
              cap);
  }
  // Room for one step of 64 in one of 80 layers, or for none.
  const SearchProblem tight{.space = four_widths(80),
                            .cost = total_width,
                            .limits = {{"width", 80 * 64 + 64, total_width}}};
  EXPECT_EQ(FeasibleSet(tight).count(1'000'000), 81u);
}

TEST(FeasibleSet, RedrawsUniformly) {
  Random random(8);
  for (const auto& [name, problem, small] : problems()) {
    if (!small) continue;
    const FeasibleSet set(problem);
    const std::uint64_t size = set.count(10'000);
    if (size > 300) continue;  // enough draws of each of the others
    std::map<Levels, double> counts;
    const double expected = 200;
    const auto draws = static_cast<int>(expected * static_cast<double>(size));
    Levels member = set.narrowest();
    for (int i = 0; i < draws; ++i) {
      for (int sweep = 0; sweep < 8; ++sweep) set.redraw(member, random);
      ASSERT_TRUE(set.contains(member)) << name;
      ++counts[member];
    }
    EXPECT_EQ(counts.size(), size) << name;
    double chi2 = 0;
    for (const auto& [levels, count] : counts) {
      chi2 += (count - expected) * (count - expected) / expected;
    }
    const double freedom = static_cast<double>(size - 1);
    EXPECT_LE(chi2, freedom + 5 * std::sqrt(2 * freedom)) << name;
  }
}

// However finely a layer is divided: 4,096 levels take 13 questions at most, not thousands.
TEST(FeasibleSet, RedrawAsksForFewCosts) {
  LayerChoices choices;
  choices.granularities = {1, 4096};
  choices.step = 1;
  int asked = 0;
  const auto counted = [&](const Widths& widths) { return ++asked, total_width(widths); };
  const WidthSpace coarse{.layers = std::vector<LayerChoices>(4, choices)};
  const FeasibleSet set({.space = coarse.with_untrained(1),
                         .cost = total_width,
                         .limits = {{"width", 5000, counted}}});
  Random random(10);
  Levels member = set.narrowest();
  for (int sweep = 0; sweep < 20; ++sweep) {
    asked = 0;
    set.redraw(member, random);
    EXPECT_LE(asked, 4 * 13);
  }
  EXPECT_TRUE(set.contains(member));
}

TEST(FeasibleSet, RepairNarrowsUntilItFits) {
  Random random(9);
  for (const auto& [name, problem, small] : problems()) {
    const FeasibleSet set(problem);
    for (int i = 0; i < 50; ++i) {
      Levels candidate = set.narrowest();
      for (std::size_t layer = 0; layer < set.layers(); ++layer) {
        candidate[layer] =
            static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(set.levels(layer))));
      }
      Levels repaired = candidate;
      set.repair(repaired, random);
      EXPECT_TRUE(set.contains(repaired)) << name;
      EXPECT_EQ(set.contains(candidate), repaired == candidate) << name;
      for (std::size_t layer = 0; layer < set.layers(); ++layer) {
        EXPECT_LE(repaired[layer], candidate[layer]) << name;
      }
    }
  }
}

TEST(FeasibleSet, RefusesEmptySetsAndSpaces) {
  EXPECT_THROW(FeasibleSet({.space = {}, .cost = total_width, .limits = {}}), UsageError);
  EXPECT_THROW(
      FeasibleSet(
          {.space = four_widths(3), .cost = total_width, .limits = {{"width", 191, total_width}}}),
      UsageError);
}

// Members below every prefix, against counting them one by one.
TEST(SubtreeCounts, AgreesWithEnumeration) {
  for (const auto& [name, problem, small] : problems()) {
    if (!small) continue;
    const FeasibleSet set(problem);
    const SubtreeCounts counts(set);
    std::map<Levels, double> below;  // by prefix, of any depth
    for (const Widths& widths : members_of(problem)) {
      const Levels levels = set.levels_of(widths);
      for (std::size_t depth = 0; depth <= levels.size(); ++depth) {
        ++below[Levels(levels.begin(), levels.begin() + static_cast<std::ptrdiff_t>(depth))];
      }
    }
    if (name == "not additive") continue;  // documented as estimates
    const bool exact = problem.limits.size() < 2;
    for (const auto& [prefix, count] : below) {
      Levels padded = prefix;
      padded.resize(set.layers(), 0);
      const double estimate = counts.below(padded, prefix.size());
      if (exact) {
        EXPECT_EQ(estimate, count) << name << " depth " << prefix.size();
      } else {
        EXPECT_GE(estimate, count) << name << " depth " << prefix.size();
      }
    }
  }
}

TEST(SubtreeCounts, StayFiniteInEndlessSpaces) {
  for (const double room : {64.0 * 600 + 6400, 1e9}) {
    const SearchProblem problem{
        .space = four_widths(600), .cost = total_width, .limits = {{"width", room, total_width}}};
    const auto grid = make_strategy("grid", problem, {.max_evaluations = 5});
    EXPECT_EQ(trace(*grid, problem).size(), 5u);
  }
}

// Costs whose steps are too many for a table: each count within a few per cent.
TEST(SubtreeCounts, EstimatesWhereStepsAreTooFine) {
  const auto odd = [](const Widths& widths) {
    double sum = 0;
    for (std::size_t layer = 0; layer < widths.size(); ++layer) {
      sum += 1.0001 * widths[layer] * static_cast<double>(1000 + layer);
    }
    return sum;
  };
  const SearchProblem problem{
      .space = four_widths(6), .cost = total_width, .limits = {{"odd", 1.3e6, odd}}};
  const FeasibleSet set(problem);
  const double members = static_cast<double>(members_of(problem).size());
  EXPECT_NEAR(SubtreeCounts(set).below(set.narrowest(), 0), members, 0.03 * members);
}

}  // namespace
}  // namespace mnm
