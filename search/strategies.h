// The strategies behind make_strategy, one file each. Their constructors check the settings.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "search/strategy.h"

namespace mnm {

// A search over a fixed list: the feasible ones of `members`, in their order. If there are more
// than max_evaluations, it takes an even sample that keeps the first and the last.
std::unique_ptr<Strategy> make_schedule_search(std::string name, std::vector<Widths> members,
                                               const SearchProblem& problem,
                                               const StrategySettings& settings);

// The whole feasible set in lexicographic order, if it has at most max_evaluations members. Else an
// even sample of it, in the same order: at every prefix the evaluations are divided among the
// levels of the next layer in proportion to the number of feasible members below them, to within
// one. SubtreeCounts says how exactly these numbers are known.
std::unique_ptr<Strategy> make_grid(const SearchProblem& problem, const StrategySettings& settings);

// Members of the feasible set drawn uniformly, without replacement.
std::unique_ptr<Strategy> make_random_search(const SearchProblem& problem,
                                             const StrategySettings& settings);

// NSGA-II over an archive of all results; see nsga2.cpp.
std::unique_ptr<Strategy> make_nsga2(const SearchProblem& problem,
                                     const StrategySettings& settings);

// Each layer at each of its choices, with the other layers wide; see layer_sensitivity.h.
std::unique_ptr<Strategy> make_sensitivity(const SearchProblem& problem,
                                           const StrategySettings& settings);

// The same, then the exact optima of the sum of the layers' losses; see knapsack.cpp.
std::unique_ptr<Strategy> make_knapsack(const SearchProblem& problem,
                                        const StrategySettings& settings);

// Chooses by a model of the losses; see surrogate.cpp.
std::unique_ptr<Strategy> make_surrogate(const SearchProblem& problem,
                                         const StrategySettings& settings);

}  // namespace mnm
