#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "heuristics/least_slope.h"
#include "heuristics/monotone.h"
#include "heuristics/uniform.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

TEST(ScheduleSearch, AsksTheFeasibleMembersInOrder) {
  for (const auto& [name, problem, small] : problems()) {
    for (const std::string schedule : {"uniform", "least-slope", "monotone"}) {
      std::vector<Widths> expected = schedule == "uniform" ? uniform_schedule(problem.space)
                                     : schedule == "least-slope"
                                         ? least_slope_schedule(problem.space)
                                         : monotone_schedule(problem.space, 1'000'000);
      std::erase_if(expected, [&](const Widths& widths) { return !problem.feasible(widths); });
      const auto strategy = make_strategy(schedule, problem, {.max_evaluations = 1'000'000});
      EXPECT_EQ(strategy->total(), expected.size()) << name;
      EXPECT_EQ(trace(*strategy, problem), expected) << name;
    }
  }
}

TEST(ScheduleSearch, SamplesEvenlyWhatDoesNotFitAndSaysSo) {
  const SearchProblem problem{.space = four_widths(8), .cost = total_width, .limits = {}};
  const std::vector<Widths> all = monotone_schedule(problem.space, 165);
  for (const std::size_t room : {1u, 2u, 3u, 42u, 83u, 164u, 165u}) {
    const auto strategy = make_strategy("monotone", problem, {.max_evaluations = room});
    const std::vector<Widths> asked = trace(*strategy, problem);
    ASSERT_EQ(asked.size(), room);
    std::vector<std::size_t> places;
    for (const Widths& widths : asked) {
      places.push_back(static_cast<std::size_t>(std::ranges::find(all, widths) - all.begin()));
    }
    EXPECT_EQ(places.front(), 0u);
    EXPECT_EQ(places.back(), room > 1 ? 164u : 0u);
    for (std::size_t i = 1; i < room; ++i) {  // gaps of 164 / (room - 1), rounded either way
      const std::size_t gap = places[i] - places[i - 1];
      EXPECT_GE(gap, 164 / (room - 1));
      EXPECT_LE(gap, 164 / (room - 1) + 1);
    }
    EXPECT_EQ(strategy->description(),
              room == 165 ? "monotone, all 165"
                          : fmt::format("monotone, even sample of {} of 165", room));
  }
}

TEST(ScheduleSearch, SaysWhatTheBudgetLeaves) {
  const SearchProblem problem{
      .space = four_widths(8), .cost = total_width, .limits = {{"width", 8 * 128, total_width}}};
  EXPECT_EQ(make_strategy("uniform", problem, {})->description(),
            "uniform, all 2 within the budget (4 without it)");
}

// Schedules skip nothing: a budget that only skipping meets leaves them empty.
TEST(ScheduleSearch, RefusesABudgetThatNoMemberMeets) {
  SearchProblem problem{
      .space = four_widths(2), .cost = total_width, .limits = {{"width", 64, total_width}}};
  problem.space.layers[0].may_skip = true;
  EXPECT_EQ(make_strategy("grid", problem, {})->total(), 1u);
  EXPECT_THROW(make_strategy("uniform", problem, {}), UsageError);
}

}  // namespace
}  // namespace mnm
