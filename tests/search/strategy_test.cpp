// What holds for every strategy on every problem: the contract of search/strategy.h.
#include "search/strategy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "tests/search/problems.h"

namespace mnm {
namespace {

using namespace test;

StrategySettings settings_of(std::uint64_t evaluations, std::uint64_t seed = 1) {
  return {.seed = seed, .max_evaluations = evaluations, .population = 16};
}

// Calls check(label, name, problem, settings) for all strategies, problems and budgets.
template <typename Check>
void for_everything(Check check) {
  for (const auto& [title, problem, small] : problems()) {
    const std::uint64_t members = FeasibleSet(problem).count(1000);
    for (const std::string_view name : strategy_names()) {
      for (const std::uint64_t evaluations : {1u, 5u, 150u, 3000u}) {
        if (!small && evaluations > 150) continue;
        // A model of many results takes its time; all members of the smaller problems are asked.
        const bool slow = name == "surrogate" && members > 100;
        if (slow && evaluations > 150) continue;
        const std::uint64_t wanted = slow ? std::min<std::uint64_t>(evaluations, 45) : evaluations;
        check(fmt::format("{} on '{}', {} evaluations", name, title, wanted), name, problem,
              settings_of(wanted));
      }
    }
  }
}

TEST(Strategy, AsksFeasibleDistinctCandidatesAsOftenAsItSaid) {
  for_everything([](const std::string& label, std::string_view name, const SearchProblem& problem,
                    const StrategySettings& settings) {
    const auto strategy = make_strategy(name, problem, settings);
    EXPECT_GE(strategy->preferred_batch(), 1u) << label;
    const std::vector<Widths> asked = trace(*strategy, problem);
    EXPECT_FALSE(asked.empty()) << label;
    EXPECT_LE(asked.size(), settings.max_evaluations) << label;
    EXPECT_EQ(asked.size(), strategy->total()) << label;
    EXPECT_EQ(std::set<Widths>(asked.begin(), asked.end()).size(), asked.size()) << label;
    for (const Widths& widths : asked) {
      EXPECT_FALSE(problem.space.refusal(widths)) << label << " " << to_string(widths);
      EXPECT_TRUE(problem.feasible(widths)) << label << " " << to_string(widths);
    }
    EXPECT_TRUE(strategy->finished()) << label;
    EXPECT_TRUE(strategy->ask(10).empty()) << label;
    EXPECT_EQ(strategy->description().substr(0, name.size()), name);
  });
}

TEST(Strategy, TraceDependsNeitherOnTheBatchNorOnTheRun) {
  for_everything([](const std::string& label, std::string_view name, const SearchProblem& problem,
                    const StrategySettings& settings) {
    const std::vector<Widths> expected = trace(*make_strategy(name, problem, settings), problem);
    for (const std::size_t batch : {1u, 7u, 100'000u}) {
      EXPECT_EQ(trace(*make_strategy(name, problem, settings), problem, batch), expected) << label;
    }
  });
}

// What resuming does: a strategy made anew is told what the store has, and goes on.
TEST(Strategy, ReplayedStrategyGoesOnAlike) {
  for_everything([](const std::string& label, std::string_view name, const SearchProblem& problem,
                    const StrategySettings& settings) {
    const auto whole = make_strategy(name, problem, settings);
    const std::vector<Widths> expected = trace(*whole, problem);
    for (const std::size_t stored : {expected.size() / 3, expected.size() - 1}) {
      const auto resumed = make_strategy(name, problem, settings);
      std::vector<Widths> asked;
      while (asked.size() < stored) {
        const std::vector<Widths> batch =
            resumed->ask(std::min(resumed->preferred_batch(), stored - asked.size()));
        ASSERT_FALSE(batch.empty()) << label;
        for (const Widths& widths : batch) {
          EXPECT_EQ(widths, expected[asked.size()]) << label;
          resumed->tell(widths, result_of(problem, widths));
          asked.push_back(widths);
        }
      }
      const std::vector<Widths> rest = trace(*resumed, problem);
      asked.insert(asked.end(), rest.begin(), rest.end());
      EXPECT_EQ(asked, expected) << label;
    }
  });
}

// FNV-1a over the text of a trace: a change of any candidate, or of their order, shows. These are
// the same on every machine; who changes a strategy on purpose writes down the new ones.
TEST(Strategy, TraceIsTheRecordedOne) {
  const std::map<std::string_view, std::uint64_t> recorded = {
      {"uniform", 0xdc2f9334bc1a9e88},        {"least-slope", 0x13dffb50a40944a9},
      {"monotone", 0x57698a87318a3ca6},       {"grid", 0x616e8f7d433ca9b3},
      {"random", 0x92587363d1e0b72d},         {"evolution", 0x900e278fcdca2192},
      {"constant", 0xdc2f9334bc1a9e88},  // without untrained widths, what uniform is
      {"linear-decay", 0x73927fcfb0e05079},   {"wide-to-narrow", 0x686bb23adc92c00e},
      {"narrow-to-wide", 0xb73d3559af23e60a}, {"surrogate", 0xd127d0d6734277ff},
      {"sensitivity", 0x6409fa4fa6c7794b},    {"knapsack", 0x6cd3645679083aec},
  };
  const SearchProblem problem{
      .space = four_widths(8), .cost = total_width, .limits = {{"width", 8 * 256, total_width}}};
  for (const std::string_view name : strategy_names()) {
    const auto strategy = make_strategy(name, problem, settings_of(500, 42));
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const Widths& widths : trace(*strategy, problem)) {
      for (const char c : to_string(widths) + ";") {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
      }
    }
    EXPECT_EQ(hash, recorded.at(name)) << fmt::format("{} {:#x}", name, hash);
  }
}

TEST(Strategy, SeedsDifferWhereChanceDecides) {
  const SearchProblem problem{.space = four_widths(8), .cost = total_width, .limits = {}};
  for (const std::string_view name : strategy_names()) {
    const bool random =
        name == "grid" || name == "random" || name == "evolution" || name == "surrogate";
    const auto one = make_strategy(name, problem, settings_of(300, 1));
    const auto two = make_strategy(name, problem, settings_of(300, 2));
    EXPECT_EQ(trace(*one, problem) != trace(*two, problem), random) << name;
  }
}

TEST(Strategy, RefusesResultsThatItDidNotAskForNext) {
  const SearchProblem problem{.space = four_widths(5), .cost = total_width, .limits = {}};
  for (const std::string_view name : strategy_names()) {
    const auto strategy = make_strategy(name, problem, settings_of(100));
    EXPECT_THROW(strategy->tell({64, 64, 64, 64, 64}, {1, 1}), Error) << name;
    const std::vector<Widths> batch = strategy->ask(2);
    ASSERT_EQ(batch.size(), 2u);
    EXPECT_THROW(strategy->tell(batch[1], {1, 1}), Error) << name;
    strategy->tell(batch[0], {1, 1});
    EXPECT_THROW(strategy->tell(batch[0], {1, 1}), Error) << name;
    strategy->tell(batch[1], {1, 1});
  }
}

TEST(Strategy, FailedCandidatesStopNothing) {
  const SearchProblem problem{.space = four_widths(5), .cost = total_width, .limits = {}};
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (const std::string_view name : strategy_names()) {
    for (const std::vector<double>& losses :
         {std::vector<double>{kNan}, {kInf}, {-kInf}, {1, kNan}, {kNan, kInf, 2, 1}}) {
      const auto strategy = make_strategy(name, problem, settings_of(200));
      std::size_t told = 0;
      while (!strategy->finished()) {
        const std::vector<Widths> batch = strategy->ask(strategy->preferred_batch());
        ASSERT_FALSE(batch.empty()) << name;
        for (const Widths& widths : batch) {
          strategy->tell(widths, {total_width(widths), losses[told++ % losses.size()]});
        }
      }
      EXPECT_EQ(told, strategy->total()) << name;
    }
  }
}

std::string refusal(std::string_view name, const SearchProblem& problem,
                    const StrategySettings& settings) {
  try {
    make_strategy(name, problem, settings);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Strategy, RefusesBadNamesSettingsAndBudgets) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const SearchProblem problem{.space = four_widths(3), .cost = total_width, .limits = {}};
  EXPECT_NE(refusal("evolutoin", problem, {}).find("'evolution'"), std::string::npos)
      << refusal("evolutoin", problem, {});
  EXPECT_NE(refusal("", problem, {}), "");
  EXPECT_NE(refusal("evolution", problem, {.population = 3}).find("population"), std::string::npos);
  for (const double bad : {-0.1, 1.1, kNan}) {
    EXPECT_NE(refusal("evolution", problem, {.crossover = bad}).find("crossover"),
              std::string::npos);
    EXPECT_NE(refusal("evolution", problem, {.mutation = bad}).find("mutation"), std::string::npos);
  }
  SearchProblem poor = problem;
  poor.limits = {{"params", 191, total_width}};
  for (const std::string_view name : strategy_names()) {
    EXPECT_EQ(refusal(name, problem, {}), "") << name;
    EXPECT_NE(refusal(name, problem, {.max_evaluations = 0}), "") << name;
    EXPECT_NE(refusal(name, poor, {}).find("smallest that one meets is 192"), std::string::npos)
        << name;
    EXPECT_NE(refusal(name, {.space = {}, .cost = total_width, .limits = {}}, {}), "") << name;
  }
}

}  // namespace
}  // namespace mnm
