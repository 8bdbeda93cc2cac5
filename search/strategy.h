// The seam of search: strategies are pure state machines that are asked and told.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "search/pareto.h"
#include "search/problem.h"

namespace mnm {

// What a strategy that has a model of the losses expects of a submodel.
struct Belief {
  Widths widths;
  double cost = 0;
  double loss = 0, deviation = 0;  // its mean, without noise, and how uncertain that is
  bool told = false;               // whether its result was
};

class Strategy {
 public:
  virtual ~Strategy() = default;

  // Up to n new candidates, feasible, never one asked before. Fewer or none only when the strategy
  // needs results first or has finished. Same constructor arguments and same calls: same answers,
  // on every machine.
  virtual std::vector<Widths> ask(std::size_t n) = 0;

  // The result of a candidate that was asked, in the order of asking; Error if it is another's.
  // Loss NaN or infinite: it failed. `noise`: the standard deviation of what chance does to this
  // loss and not to the others. Scores on the same examples have next to none: chance moves them
  // together, as the standard errors of their differences show.
  virtual void tell(const Widths& widths, const Point& result, double noise = 0) = 0;

  // The front as the strategy believes it to be by now, by ascending cost; empty where it believes
  // nothing beyond what it was told.
  virtual std::vector<Belief> believed_front() const { return {}; }

  // Nothing more will ever be asked.
  virtual bool finished() const = 0;

  // How many to ask for at once, so that candidates share prefixes (a whole generation, a subtree).
  virtual std::size_t preferred_batch() const = 0;

  // How many candidates it will ask for in all, where it knows; else 0.
  virtual std::uint64_t total() const { return 0; }

  // One line for people: "grid, even sample of 1,000 of 65,536".
  virtual std::string description() const = 0;
};

struct StrategySettings {
  std::uint64_t seed = 1;
  std::uint64_t max_evaluations = 2000;
  std::size_t population = 64;  // evolution: parents kept, and size of a generation
  double crossover = 0.3;       // evolution: probability that a child has two parents
  double mutation = 0;          // evolution: probability per layer; 0: 1 / (2 layers)
};

// "uniform", "least-slope", "monotone", the sweeps "constant", "linear-decay", "wide-to-narrow" and
// "narrow-to-wide", "grid", "random", "evolution", "surrogate", "sensitivity", "knapsack".
// UsageError names the nearest for an unknown name, the setting for a bad one, and the smallest
// budget when nothing is feasible. The problem is copied. No strategy asks for more than
// max_evaluations candidates, and which ones it asks for does not depend on how many are asked for
// at a time.
//
// Resuming is replaying: a new strategy of the same arguments that is asked again, and told the
// stored results of what it asks, goes on as the old one would have.
std::unique_ptr<Strategy> make_strategy(std::string_view name, const SearchProblem& problem,
                                        const StrategySettings& settings);
std::span<const std::string_view> strategy_names();

}  // namespace mnm
