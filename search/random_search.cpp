#include <algorithm>

#include "base/error.h"
#include "search/ask_queue.h"
#include "search/feasible_set.h"
#include "search/member_sampler.h"
#include "search/strategies.h"

namespace mnm {
namespace {

constexpr std::size_t kBatch = 256;
constexpr std::uint64_t kShuffled = 1u << 20;  // members that are listed and shuffled at most

class RandomSearch final : public Strategy {
 public:
  RandomSearch(const SearchProblem& problem, const StrategySettings& settings)
      : set_(problem), random_(settings.seed), fresh_(set_, random_) {
    total_ = set_.count(settings.max_evaluations);
    // Where draws would often meet earlier ones, shuffle the whole set instead.
    const std::uint64_t room = std::min(kShuffled, 4 * std::min(total_, kShuffled));
    if (set_.count(room + 1) <= room) {
      Levels member = set_.narrowest();
      do deck_.push_back(member);
      while (set_.advance(member));
      random_.shuffle(deck_);
    }
  }
  RandomSearch(const RandomSearch&) = delete;  // fresh_ refers to its neighbours
  RandomSearch& operator=(const RandomSearch&) = delete;

  std::vector<Widths> ask(std::size_t n) override {
    std::vector<Widths> batch;
    while (batch.size() < n && !finished()) {
      const auto asked = static_cast<std::size_t>(asked_.count());
      batch.push_back(set_.widths(deck_.empty() ? fresh_.draw() : deck_[asked]));
      asked_.ask(batch.back());
    }
    return batch;
  }
  void tell(const Widths& widths, const Point&, double /*noise*/) override { asked_.tell(widths); }
  bool finished() const override { return asked_.count() == total_; }
  std::size_t preferred_batch() const override {
    return static_cast<std::size_t>(std::min<std::uint64_t>(kBatch, total_));
  }
  std::uint64_t total() const override { return total_; }
  std::string description() const override {
    return fmt::format("random, {} distinct submodels drawn uniformly{}", total_,
                       set_.problem().limits.empty() ? "" : " within the budget");
  }

 private:
  FeasibleSet set_;
  Random random_;
  MemberSampler fresh_;
  std::vector<Levels> deck_;  // the whole set, shuffled, where it is small; else empty
  std::uint64_t total_ = 0;
  AskQueue asked_;
};

}  // namespace

std::unique_ptr<Strategy> make_random_search(const SearchProblem& problem,
                                             const StrategySettings& settings) {
  return std::make_unique<RandomSearch>(problem, settings);
}

}  // namespace mnm
