#include "search/strategy.h"

#include <array>

#include "base/error.h"
#include "base/spelling.h"
#include "heuristics/least_slope.h"
#include "heuristics/monotone.h"
#include "heuristics/sweeps.h"
#include "heuristics/uniform.h"
#include "search/strategies.h"

namespace mnm {
namespace {

constexpr std::int64_t kListed = 1'000'000;  // submodels of a schedule that are kept in memory

using Make = std::unique_ptr<Strategy> (*)(const SearchProblem&, const StrategySettings&);

struct Entry {
  std::string_view name;
  Make make;
};

constexpr Entry kEntries[] = {
    {"uniform",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("uniform", uniform_schedule(problem.space), problem, settings);
     }},
    {"least-slope",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("least-slope", least_slope_schedule(problem.space), problem,
                                   settings);
     }},
    {"monotone",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("monotone", monotone_schedule(problem.space, kListed), problem,
                                   settings);
     }},
    {"constant",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("constant", constant_schedule(problem.space), problem, settings);
     }},
    {"linear-decay",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("linear-decay", linear_decay_schedule(problem.space), problem,
                                   settings);
     }},
    {"wide-to-narrow",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("wide-to-narrow", wide_to_narrow_schedule(problem.space),
                                   problem, settings);
     }},
    {"narrow-to-wide",
     [](const SearchProblem& problem, const StrategySettings& settings) {
       return make_schedule_search("narrow-to-wide", narrow_to_wide_schedule(problem.space),
                                   problem, settings);
     }},
    {"grid", make_grid},
    {"random", make_random_search},
    {"evolution", make_nsga2},
    {"surrogate", make_surrogate},
    {"sensitivity", make_sensitivity},
    {"knapsack", make_knapsack},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kEntries)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kEntries[i].name;
  return names;
}();

}  // namespace

std::unique_ptr<Strategy> make_strategy(std::string_view name, const SearchProblem& problem,
                                        const StrategySettings& settings) {
  for (const Entry& entry : kEntries) {
    if (entry.name != name) continue;
    if (settings.max_evaluations == 0) {
      fail_usage("a search of 0 evaluations finds nothing: allow at least 1");
    }
    if (problem.space.layers.empty()) fail_usage("a model without layers has nothing to search");
    problem.require_feasible();
    return entry.make(problem, settings);
  }
  fail_usage("unknown strategy '{}'{}", name, did_you_mean(name, kNames));
}

std::span<const std::string_view> strategy_names() { return kNames; }

}  // namespace mnm
