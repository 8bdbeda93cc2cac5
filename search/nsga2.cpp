// NSGA-II (Deb et al. 2002) over width levels, with four changes that submodel search asks for:
// - Evaluations are dear and memory is not: parents are the best `population` of *all* results by
//   rank, then crowding, not of the last two generations.
// - No submodel is scored twice: a child that was asked before is bred again.
// - The first generation is half heuristic (uniform and least-slope members, evenly thinned), half
//   drawn uniformly: trained models are good near the heuristics.
// - Children stay close to their parents: crossover cuts once, in depth order, as neighbouring
// layers
//   act together, and mutation goes one level up or down. Children over a budget are narrowed until
//   they meet it.
// A generation is asked at once; the next one is bred when all its results are in.
#include <algorithm>
#include <deque>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "heuristics/least_slope.h"
#include "search/ask_queue.h"
#include "search/feasible_set.h"
#include "search/member_sampler.h"
#include "search/strategies.h"

namespace mnm {
namespace {

constexpr int kTries = 100;  // children bred in vain before one is drawn anywhere instead

class Nsga2 final : public Strategy {
 public:
  Nsga2(const SearchProblem& problem, const StrategySettings& settings)
      : settings_(settings), set_(problem), random_(settings.seed), fresh_(set_, random_) {
    if (settings_.population < 4) {
      fail_usage("evolution with a population of {}: it needs at least 4", settings_.population);
    }
    require_probability("crossover", settings_.crossover);
    require_probability("mutation", settings_.mutation);
    if (settings_.mutation == 0) settings_.mutation = 0.5 / static_cast<double>(set_.layers());
    total_ = set_.count(settings_.max_evaluations);
    found();
  }
  Nsga2(const Nsga2&) = delete;  // fresh_ refers to its neighbours
  Nsga2& operator=(const Nsga2&) = delete;

  std::vector<Widths> ask(std::size_t n) override {
    if (queue_.empty() && asked_.waiting() == 0 && !finished()) breed();
    return asked_.ask_first(n, queue_, set_);
  }

  void tell(const Widths& widths, const Point& result, double /*noise*/) override {
    asked_.tell(widths);
    members_.push_back(set_.levels_of(widths));
    results_.push_back(result);
  }

  bool finished() const override { return asked_.count() == total_; }
  std::size_t preferred_batch() const override { return generation(total_); }
  std::uint64_t total() const override { return total_; }

  std::string description() const override {
    return fmt::format("evolution, {} submodels in generations of {}, {} of them heuristic", total_,
                       generation(total_), heuristic_);
  }

 private:
  static void require_probability(const char* name, double value) {
    if (!(value >= 0 && value <= 1)) {
      fail_usage("evolution with a {} probability of {}: it must lie in [0, 1]", name, value);
    }
  }

  std::size_t generation(std::uint64_t left) const {
    return static_cast<std::size_t>(std::min<std::uint64_t>(settings_.population, left));
  }

  // The first generation.
  void found() {
    const std::size_t size = generation(total_);
    std::vector<Widths> heuristic = least_slope_schedule(set_.problem().space);
    std::erase_if(heuristic, [&](const Widths& w) { return !set_.problem().feasible(w); });
    heuristic_ = std::min(heuristic.size(), std::max<std::size_t>(size / 2, 1));
    for (std::size_t i = 0; i < heuristic_; ++i) {
      const std::size_t at = heuristic_ == 1 ? 0 : i * (heuristic.size() - 1) / (heuristic_ - 1);
      queue_.push_back(set_.levels_of(heuristic[at]));
      fresh_.take(queue_.back());
    }
    while (queue_.size() < size) queue_.push_back(fresh_.draw());
  }

  // The best results so far, at most `population`, best first: by front, within a front the least
  // crowded first, of equal ones the earliest.
  std::vector<std::size_t> best() {
    const std::vector<int> ranks = forget_hopeless();
    std::vector<std::size_t> order(results_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return ranks[i]; });
    const std::size_t size = std::min(settings_.population, order.size());
    for (std::size_t begin = 0, end = 0; begin < size; begin = end) {
      std::vector<Point> front;
      for (; end < order.size() && ranks[order[end]] == ranks[order[begin]]; ++end) {
        front.push_back(results_[order[end]]);
      }
      const std::vector<double> crowding = crowding_of(front);
      std::vector<std::size_t> places(front.size());
      std::iota(places.begin(), places.end(), std::size_t{0});
      std::ranges::stable_sort(places, std::greater<>{},
                               [&](std::size_t i) { return crowding[i]; });
      for (std::size_t& place : places) place = order[begin + place];
      std::ranges::copy(places, order.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    order.resize(size);
    return order;
  }

  // Ranks of the results, without those that will never be among the best: of rank r is what r
  // others precede, each dominating the next, and whatever comes, they stay before it.
  std::vector<int> forget_hopeless() {
    std::vector<int> ranks = ranks_of(results_);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (static_cast<std::size_t>(ranks[i]) >= settings_.population) continue;
      if (kept < i) members_[kept] = std::move(members_[i]);
      results_[kept] = results_[i];
      ranks[kept++] = ranks[i];
    }
    members_.resize(kept);
    results_.resize(kept);
    ranks.resize(kept);
    return ranks;
  }

  // The next generation, into the queue.
  void breed() {
    const std::vector<std::size_t> parents = best();
    const auto tournament = [&]() -> const Levels& {
      const std::uint64_t first = random_.below(parents.size());
      const std::uint64_t second = random_.below(parents.size());
      return members_[parents[static_cast<std::size_t>(std::min(first, second))]];
    };
    const std::size_t size = generation(total_ - asked_.count());
    int in_vain = 0;
    while (queue_.size() < size) {
      Levels child = tournament();
      if (random_.chance(settings_.crossover)) cross(child, tournament());
      mutate(child);
      set_.repair(child, random_);
      if (fresh_.take(child)) {
        queue_.push_back(std::move(child));
        in_vain = 0;
      } else if (++in_vain == kTries) {
        queue_.push_back(fresh_.draw());
        in_vain = 0;
      }
    }
  }

  // The layers from a random cut on come from `other`.
  void cross(Levels& child, const Levels& other) {
    const auto cut = static_cast<std::ptrdiff_t>(random_.below(child.size() + 1));
    std::copy(other.begin() + cut, other.end(), child.begin() + cut);
  }

  void mutate(Levels& child) {
    for (std::size_t layer = 0; layer < child.size(); ++layer) {
      if (!random_.chance(settings_.mutation) || set_.levels(layer) == 1) continue;
      const bool lowest = child[layer] == 0;
      const bool highest = child[layer] + 1 == set_.levels(layer);
      const bool up = lowest || (!highest && random_.chance(0.5));
      child[layer] += up ? 1 : -1;
    }
  }

  StrategySettings settings_;
  FeasibleSet set_;
  Random random_;
  MemberSampler fresh_;
  std::uint64_t total_ = 0;
  std::size_t heuristic_ = 0;    // members of the first generation that are
  std::deque<Levels> queue_;     // bred, not yet asked
  std::vector<Levels> members_;  // told, in order, but for hopeless ones
  std::vector<Point> results_;   // theirs
  AskQueue asked_;
};

}  // namespace

std::unique_ptr<Strategy> make_nsga2(const SearchProblem& problem,
                                     const StrategySettings& settings) {
  return std::make_unique<Nsga2>(problem, settings);
}

}  // namespace mnm
