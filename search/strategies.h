// The strategies behind make_strategy, one file each. Settings are checked by their constructors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "search/strategy.h"

namespace mnm {

// The feasible ones of `members`, in their order; where they are more than max_evaluations, an even
// sample that keeps the first and the last.
std::unique_ptr<Strategy> make_schedule_search(std::string name, std::vector<Widths> members,
                                               const SearchProblem& problem,
                                               const StrategySettings& settings);

// The whole feasible set in lexicographic order where it fits max_evaluations. Else an even sample
// of it, in the same order: at every prefix the evaluations are divided among the next layer's
// levels in proportion to the feasible members below them, to within one (SubtreeCounts says how
// exactly those are known).
std::unique_ptr<Strategy> make_grid(const SearchProblem& problem, const StrategySettings& settings);

// Members of the feasible set drawn uniformly, without replacement.
std::unique_ptr<Strategy> make_random_search(const SearchProblem& problem,
                                             const StrategySettings& settings);

// NSGA-II over an archive of all results; see nsga2.cpp.
std::unique_ptr<Strategy> make_nsga2(const SearchProblem& problem,
                                     const StrategySettings& settings);

// Each layer at each of its choices, the others wide: layer_sensitivity.h.
std::unique_ptr<Strategy> make_sensitivity(const SearchProblem& problem,
                                           const StrategySettings& settings);

// The same, then the exact optima of the sum of what those lose; see knapsack.cpp.
std::unique_ptr<Strategy> make_knapsack(const SearchProblem& problem,
                                        const StrategySettings& settings);

// By a model of the losses, see surrogate.cpp.
std::unique_ptr<Strategy> make_surrogate(const SearchProblem& problem,
                                         const StrategySettings& settings);

}  // namespace mnm
