#include "search/chain_front.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "search/pareto.h"

namespace mnm {
namespace {

constexpr double kRounding = 1e-12;           // of sums of costs, as a share of a limit
constexpr std::size_t kComparedStates = 512;  // where states are compared one by one

struct State {
  double cost = 0, loss = 0;    // of the layers so far, beyond what the narrowest costs
  std::vector<double> counted;  // [limits]
  std::int32_t level = 0;       // of the last layer
  std::int32_t before = -1;     // its place in the last layer's states
};

bool precedes(const State& a, const State& b) {  // in everything, or equal
  if (a.cost > b.cost || a.loss > b.loss) return false;
  for (std::size_t i = 0; i < a.counted.size(); ++i) {
    if (a.counted[i] > b.counted[i]) return false;
  }
  return true;
}

bool before_in_order(const State& a, const State& b) {
  if (a.cost != b.cost) return a.cost < b.cost;
  if (a.loss != b.loss) return a.loss < b.loss;
  return a.before < b.before;
}

// Sorted by cost, without those that another precedes; at most about `most`, of each slice of cost
// the one of least loss, and always the cheapest.
std::vector<State> thinned(std::vector<State> states, std::size_t most) {
  std::ranges::sort(states, before_in_order);
  std::vector<State> kept;
  double least = std::numeric_limits<double>::infinity();
  for (State& state : states) {
    const bool hopeless =
        state.counted.empty()
            ? state.loss >= least
            : std::ranges::any_of(kept, [&](const State& k) { return precedes(k, state); });
    if (hopeless) continue;
    least = std::min(least, state.loss);
    kept.push_back(std::move(state));
  }
  if (kept.size() <= most) return kept;
  const double low = kept.front().cost;
  const double slice = (kept.back().cost - low) / static_cast<double>(most);
  std::vector<State> few = {kept.front()};
  double last = -1;
  for (State& state : kept) {
    const double place =
        slice > 0 ? static_cast<double>(static_cast<std::int64_t>((state.cost - low) / slice)) : 0;
    if (place != last) {
      few.push_back(std::move(state));
      last = place;
    } else if (state.loss < few.back().loss) {
      few.back() = std::move(state);
    }
  }
  return few;
}

// The limits that say something else than the cost does.
std::vector<std::size_t> other_limits(const ChainProblem& problem) {
  std::vector<std::size_t> others;
  for (std::size_t i = 0; i < problem.limits.size(); ++i) {
    const AdditiveCost& limit = problem.limits[i];
    double ratio = -1;
    bool other = false;
    for (std::size_t l = 0; l < problem.set.layers(); ++l) {
      for (std::int32_t level = 1; level < problem.set.levels(l); ++level) {
        const double cost = problem.cost.part(l, level);
        if (!(cost > 0)) {
          other = other || limit.part(l, level) > 0;
          continue;
        }
        const double here = limit.part(l, level) / cost;
        if (ratio < 0) ratio = here;
        other = other || here > ratio * (1 + 1e-9) || here < ratio * (1 - 1e-9);
      }
    }
    if (other) others.push_back(i);
  }
  return others;
}

// The limits, as states count them.
struct Counting {
  const ChainProblem& problem;
  std::vector<std::size_t> others = other_limits(problem);
  std::vector<double> ratios = ratios_of(problem);  // [limits]: of those that go with the cost

  static std::vector<double> ratios_of(const ChainProblem& problem) {
    std::vector<double> ratios;
    for (const AdditiveCost& limit : problem.limits) {
      double ratio = 0;
      for (std::size_t l = 0; l < problem.set.layers() && ratio == 0; ++l) {
        const std::int32_t top = problem.set.levels(l) - 1;
        if (problem.cost.part(l, top) > 0) ratio = limit.part(l, top) / problem.cost.part(l, top);
      }
      ratios.push_back(ratio);
    }
    return ratios;
  }

  // Whether the state, with all later layers at their narrowest, is within all limits.
  bool fits(const State& state) const {
    std::size_t other = 0;
    for (std::size_t i = 0; i < problem.limits.size(); ++i) {
      const bool counted = other < others.size() && others[other] == i;
      const double sum = counted ? state.counted[other++] : ratios[i] * state.cost;
      const double at_most = problem.set.problem().limits[i].at_most;
      if (!(problem.limits[i].base() + sum <= at_most * (1 + kRounding))) return false;
    }
    return true;
  }
};

// The states of a layer at a level, one more than those of the layer before.
std::vector<State> extended(const Counting& counting, const std::vector<State>& before,
                            std::size_t layer, std::int32_t level) {
  const ChainProblem& problem = counting.problem;
  std::vector<State> states;
  for (std::size_t from = 0; from < before.size(); ++from) {
    State state = before[from];
    state.cost += problem.cost.part(layer, level);
    state.loss += problem.single[layer][static_cast<std::size_t>(level)];
    if (layer > 0 && problem.losses != nullptr) {
      state.loss += problem.losses->pair(layer - 1, layer, state.level, level);
    }
    for (std::size_t i = 0; i < counting.others.size(); ++i) {
      state.counted[i] += problem.limits[counting.others[i]].part(layer, level);
    }
    state.level = level;
    state.before = static_cast<std::int32_t>(from);
    if (counting.fits(state)) states.push_back(std::move(state));
  }
  return states;
}

}  // namespace

std::vector<Levels> chain_front(const ChainProblem& problem) {
  const FeasibleSet& set = problem.set;
  const std::size_t layers = set.layers();
  const Counting counting{problem};
  const std::size_t most =
      counting.others.empty() ? problem.states : std::min(problem.states, kComparedStates);

  std::vector<std::vector<State>> kept(layers);  // all levels' lists, one after the other
  const std::vector<State> start = {{0, 0, std::vector<double>(counting.others.size(), 0), 0, -1}};
  for (std::size_t l = 0; l < layers; ++l) {
    for (std::int32_t level = 0; level < set.levels(l); ++level) {
      std::vector<State> states = extended(counting, l == 0 ? start : kept[l - 1], l, level);
      for (State& state : thinned(std::move(states), most)) kept[l].push_back(std::move(state));
    }
  }

  std::vector<Point> points;
  for (const State& state : kept.back()) points.push_back({state.cost, state.loss});
  std::vector<Levels> members;
  for (const std::size_t end : front_of(points)) {
    Levels member(layers);
    auto at = end;
    for (std::size_t l = layers; l-- > 0;) {
      member[l] = kept[l][at].level;
      at = static_cast<std::size_t>(kept[l][at].before);
    }
    if (set.contains(member)) members.push_back(std::move(member));
  }
  if (members.empty()) members.push_back(set.narrowest());
  return members;
}

}  // namespace mnm
