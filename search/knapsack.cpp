// The additive model's front, as Puzzletron (Bercovich et al. 2024, "Puzzle") and others choose
// submodels: what each layer loses at each width, the others wide (layer_sensitivity.h), is taken
// to add up; then choosing widths under a budget is a multiple-choice knapsack, which dynamic
// programming solves for every budget at once (chain_front.h). Its solutions are asked, too.
#include <algorithm>
#include <deque>

#include "base/error.h"
#include "search/ask_queue.h"
#include "search/chain_front.h"
#include "search/layer_sensitivity.h"
#include "search/strategies.h"

namespace mnm {
namespace {

constexpr std::size_t kBatch = 1024;

// At most `wanted`, evenly, the first and the last among them.
std::vector<Levels> thinned(std::vector<Levels> members, std::size_t wanted) {
  if (members.size() <= wanted) return members;
  std::vector<Levels> kept;
  for (std::size_t i = 0; i < wanted; ++i) {
    kept.push_back(members[wanted == 1 ? 0 : i * (members.size() - 1) / (wanted - 1)]);
  }
  return kept;
}

class Knapsack final : public Strategy {
 public:
  Knapsack(const SearchProblem& problem, const StrategySettings& settings)
      : set_(problem), most_(settings.max_evaluations) {
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(most_, 1u << 20));
    singles_ = thinned(sensitivity_members(set_), most);
    queue_.assign(singles_.begin(), singles_.end());
  }
  Knapsack(const Knapsack&) = delete;
  Knapsack& operator=(const Knapsack&) = delete;

  std::vector<Widths> ask(std::size_t n) override { return asked_.ask_first(n, queue_, set_); }

  void tell(const Widths& widths, const Point& result, double /*noise*/) override {
    asked_.tell(widths);
    if (solved_) return;
    losses_.push_back(result.loss);
    if (losses_.size() == singles_.size()) solve();
  }

  bool finished() const override { return solved_ && queue_.empty(); }
  std::size_t preferred_batch() const override { return kBatch; }
  std::uint64_t total() const override { return solved_ ? asked_.count() + queue_.size() : 0; }
  std::string description() const override {
    return fmt::format(
        "knapsack, {} submodels that differ in one layer, then the optima of their sums",
        singles_.size());
  }

 private:
  void solve() {
    const AdditiveCost cost(set_, set_.problem().cost);
    ChainProblem problem{set_, cost, {}, additive_losses(set_, singles_, losses_)};
    for (const Limit& limit : set_.problem().limits) problem.limits.emplace_back(set_, limit.cost);
    std::vector<Levels> optima = chain_front(problem);
    const LevelsSet known(singles_.begin(), singles_.end());
    std::erase_if(optima, [&](const Levels& member) { return known.contains(member); });
    const auto left =
        static_cast<std::size_t>(std::min<std::uint64_t>(most_ - singles_.size(), optima.size()));
    for (Levels& member : thinned(std::move(optima), left)) queue_.push_back(std::move(member));
    solved_ = true;
  }

  FeasibleSet set_;
  std::uint64_t most_;
  std::vector<Levels> singles_;  // asked first
  std::vector<double> losses_;   // theirs
  bool solved_ = false;
  std::deque<Levels> queue_;
  AskQueue asked_;
};

}  // namespace

std::unique_ptr<Strategy> make_knapsack(const SearchProblem& problem,
                                        const StrategySettings& settings) {
  return std::make_unique<Knapsack>(problem, settings);
}

std::unique_ptr<Strategy> make_sensitivity(const SearchProblem& problem,
                                           const StrategySettings& settings) {
  const FeasibleSet set(problem);
  std::vector<Widths> members;
  for (const Levels& member : sensitivity_members(set)) members.push_back(set.widths(member));
  return make_schedule_search("sensitivity", std::move(members), problem, settings);
}

}  // namespace mnm
