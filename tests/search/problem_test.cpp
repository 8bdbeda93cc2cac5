#include "search/problem.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "tests/search/synthetic.h"

namespace mnm {
namespace {

using test::four_widths;
using test::total_width;

std::string refusal(const SearchProblem& problem) {
  try {
    problem.require_feasible();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(SearchProblem, FeasibleMeansWithinEveryLimit) {
  const auto first = [](const Widths& widths) { return static_cast<double>(widths[0]); };
  const SearchProblem problem{.space = four_widths(2),
                              .cost = total_width,
                              .limits = {{"width", 256, total_width}, {"first", 128, first}}};
  EXPECT_TRUE(problem.feasible({64, 128}));
  EXPECT_TRUE(problem.feasible({128, 128}));  // exactly at both limits
  EXPECT_FALSE(problem.feasible({128, 256}));
  EXPECT_FALSE(problem.feasible({256, 64}));
  EXPECT_EQ(refusal(problem), "");
}

TEST(SearchProblem, NoLimitLimitsNothing) {
  const SearchProblem problem{.space = four_widths(2), .cost = total_width, .limits = {}};
  EXPECT_TRUE(problem.feasible({512, 512}));
  EXPECT_EQ(refusal(problem), "");
}

TEST(SearchProblem, RefusalNamesTheSmallestBudgetAndItSuffices) {
  SearchProblem problem{
      .space = four_widths(3), .cost = total_width, .limits = {{"params", 191, total_width}}};
  EXPECT_EQ(refusal(problem),
            "no submodel meets a budget of 191 params (the smallest that one meets is 192); the "
            "narrowest is 64x3: raise the budget");
  problem.limits[0].at_most = 192;
  EXPECT_EQ(refusal(problem), "");
}

TEST(SearchProblem, RefusalNamesKeepWhereItsBoundsAreTheCause) {
  SearchProblem problem{
      .space = four_widths(2), .cost = total_width, .limits = {{"params", 191, total_width}}};
  problem.unbounded = problem.narrowest();
  problem.space.layers[0].granularities = {512};
  EXPECT_EQ(refusal(problem),
            "no submodel meets a budget of 191 params (the smallest that one meets is 576); the "
            "narrowest that --keep leaves is 512,64: raise the budget, or lower the widths of "
            "--keep, without which 64x2 meets it");
  problem.limits[0].at_most = 127;  // which nothing meets
  EXPECT_TRUE(refusal(problem).ends_with("the narrowest is 512,64: raise the budget"));
}

TEST(SearchProblem, RefusalNamesEveryLimitThatFailsInFull) {
  const auto large = [](const Widths& widths) { return total_width(widths) * 1e15; };
  const auto half = [](const Widths& widths) { return total_width(widths) + 0.5; };
  const SearchProblem problem{
      .space = four_widths(1),
      .cost = total_width,
      .limits = {{"flops", 1, large}, {"fits", 100, total_width}, {"ms", 0.25, half}}};
  EXPECT_EQ(
      refusal(problem),
      "no submodel meets a budget of 1 flops (the smallest that one meets is "
      "64000000000000000), nor a budget of 0.25 ms (the smallest that one meets is 64.5); the "
      "narrowest is 64: raise the budget");
}

TEST(SearchProblem, RefusalOfTheOnlySubmodelNamesTheOptionThatAddsOthers) {
  SearchProblem problem{
      .space = four_widths(1), .cost = total_width, .limits = {{"params", 191, total_width}}};
  problem.space.layers[0].granularities = {512};
  EXPECT_TRUE(refusal(problem).ends_with(
      "the narrowest is 512: raise the budget, name the trained widths with --granularities, or, "
      "if the checkpoint is an ordinary one, nest it first (mixnmatch nest)"))
      << refusal(problem);
}

TEST(SearchProblem, SkippedLayersAreTheNarrowest) {
  SearchProblem problem{
      .space = four_widths(2), .cost = total_width, .limits = {{"params", 64, total_width}}};
  EXPECT_NE(refusal(problem), "");
  problem.space.layers[1].may_skip = true;
  EXPECT_EQ(problem.narrowest(), (Widths{64, kSkip}));
  EXPECT_EQ(refusal(problem), "");
}

TEST(SearchProblem, NanMeetsNoBudget) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  SearchProblem problem{
      .space = four_widths(2), .cost = total_width, .limits = {{"params", kNan, total_width}}};
  EXPECT_FALSE(problem.feasible({64, 64}));
  EXPECT_NE(refusal(problem), "");
}

}  // namespace
}  // namespace mnm
