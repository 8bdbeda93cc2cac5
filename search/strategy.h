// The interface of all search strategies. A strategy is a pure state machine that is asked for
// candidates and told their results.
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

// What a strategy with a model of the losses expects of a submodel.
struct Belief {
  Widths widths;
  double cost = 0;
  double loss = 0, deviation = 0;  // the expected loss, without noise, and its uncertainty
  bool told = false;               // whether its result was told
};

class Strategy {
 public:
  virtual ~Strategy() = default;

  // Up to n new candidates. They are feasible and were never asked for before. Fewer or none come
  // only if the strategy needs results first or has finished. The same constructor arguments and
  // the same calls give the same answers on every machine.
  virtual std::vector<Widths> ask(std::size_t n) = 0;

  // Takes the result of a candidate. Results come in the order of asking; Error if it is another's.
  // A loss that is NaN or infinite means that the candidate failed. `noise` is the standard
  // deviation of what chance does to this loss and not to the others. Scores on the same examples
  // have almost none, because chance moves them together, as the standard errors of their
  // differences show.
  virtual void tell(const Widths& widths, const Point& result, double noise = 0) = 0;

  // The front that the strategy believes in by now, by ascending cost. Empty if the strategy has no
  // model beyond the results that it was told.
  virtual std::vector<Belief> believed_front() const { return {}; }

  // What it expects of the results that it was told, without their noise. Empty if the strategy has
  // no model beyond them.
  virtual std::vector<Belief> believed_results() const { return {}; }

  // Nothing more will ever be asked.
  virtual bool finished() const = 0;

  // How many candidates to ask for at once so that they share prefixes (a whole generation, a
  // subtree).
  virtual std::size_t preferred_batch() const = 0;

  // How many candidates it will ask for in all, if it knows; else 0.
  virtual std::uint64_t total() const { return 0; }

  // One line for people: "grid, even sample of 1,000 of 65,536".
  virtual std::string description() const = 0;
};

struct StrategySettings {
  std::uint64_t seed = 1;
  std::uint64_t max_evaluations = 2000;
  std::size_t population = 64;    // evolution: parents kept, and size of a generation
  double crossover = 0.3;         // evolution: probability that a child has two parents
  double mutation = 0;            // evolution: probability per layer; 0: 1 / (2 layers)
  bool from_sensitivity = false;  // surrogate: its start has the submodels of "sensitivity", too
};

// Makes a strategy by its name: "uniform", "least-slope", "monotone", the sweeps "constant",
// "linear-decay", "wide-to-narrow" and "narrow-to-wide", "grid", "random", "evolution",
// "surrogate", "sensitivity", "knapsack".
//
// The problem is copied. No strategy asks for more than max_evaluations candidates. Which ones it
// asks for does not depend on how many are asked for at a time. UsageError names the nearest name
// for an unknown one, the setting for a bad one, and the smallest budget if nothing is feasible.
//
// A search resumes by replaying. A new strategy with the same arguments is asked again, and is told
// the stored results of what it asks for. Then it goes on as the old one would have.
std::unique_ptr<Strategy> make_strategy(std::string_view name, const SearchProblem& problem,
                                        const StrategySettings& settings);
std::span<const std::string_view> strategy_names();

}  // namespace mnm
