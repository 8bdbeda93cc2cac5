#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "search/ask_queue.h"
#include "search/feasible_set.h"
#include "search/strategies.h"
#include "search/subtree_counts.h"

namespace mnm {
namespace {

constexpr std::uint64_t kBatch = 1024;

// An even sample of a feasible set, in lexicographic order.
class EvenSample {
 public:
  EvenSample(const FeasibleSet& set, std::uint64_t wanted, std::uint64_t seed)
      : set_(set), counts_(set), random_(seed) {
    Levels prefix = set.narrowest();
    take(prefix, 0, wanted);
  }
  std::vector<Levels> members;

 private:
  // Takes `wanted` members of the subtree of prefixes of length `depth`, or all where it has fewer;
  // returns how many.
  std::uint64_t take(Levels& prefix, std::size_t depth, std::uint64_t wanted) {
    if (wanted == 0) return 0;
    if (depth == set_.layers()) {
      members.push_back(prefix);
      return 1;
    }
    std::vector<double> ends;  // running sum of the children's counts
    for (prefix[depth] = 0; set_.contains(prefix); ++prefix[depth]) {
      ends.push_back((ends.empty() ? 0 : ends.back()) + counts_.below(prefix, depth + 1));
    }
    // Systematic sampling: ticks at start, start + 1, ... on an axis where the subtree is `wanted`
    // long; each child gets the ticks that fall into its own stretch, and what a child before it
    // could not use.
    const double start = random_.uniform();
    std::uint64_t ticks = 0, taken = 0;
    for (std::size_t child = 0; child < ends.size(); ++child) {
      const bool last = child + 1 == ends.size();
      const double end = ends[child] / ends.back() * static_cast<double>(wanted);
      const auto until =
          last
              ? wanted
              : std::min(wanted, static_cast<std::uint64_t>(std::max(0.0, std::ceil(end - start))));
      ticks = std::max(ticks, until);
      prefix[depth] = static_cast<std::int32_t>(child);
      taken += take(prefix, depth + 1, ticks - taken);
    }
    prefix[depth] = 0;
    return taken;
  }

  const FeasibleSet& set_;
  SubtreeCounts counts_;
  Random random_;
};

class Grid final : public Strategy {
 public:
  Grid(const SearchProblem& problem, const StrategySettings& settings) : set_(problem) {
    total_ = set_.count(settings.max_evaluations);
    exhaustive_ = total_ < settings.max_evaluations || set_.count(total_ + 1) == total_;
    if (!exhaustive_) {
      sample_ = EvenSample(set_, total_, settings.seed).members;
      total_ = sample_.size();
    }
    next_ = set_.narrowest();
    // Whole subtrees: as many layers from the last as a batch has room for.
    for (std::size_t layer = set_.layers(); layer-- > 0;) {
      const auto levels = static_cast<std::uint64_t>(set_.levels(layer));
      if (batch_ * levels > kBatch) break;
      batch_ *= levels;
    }
  }

  std::vector<Widths> ask(std::size_t n) override {
    std::vector<Widths> batch;
    while (batch.size() < n && !finished()) {
      if (exhaustive_) {
        batch.push_back(set_.widths(next_));
        set_.advance(next_);
      } else {
        batch.push_back(set_.widths(sample_[static_cast<std::size_t>(asked_.count())]));
      }
      asked_.ask(batch.back());
    }
    return batch;
  }
  void tell(const Widths& widths, const Point&, double /*noise*/) override { asked_.tell(widths); }
  bool finished() const override { return asked_.count() == total_; }
  std::size_t preferred_batch() const override {
    const std::uint64_t batch = exhaustive_ ? batch_ : kBatch;
    return static_cast<std::size_t>(std::min(batch, total_));
  }
  std::uint64_t total() const override { return total_; }

  std::string description() const override {
    const char* within = set_.problem().limits.empty() ? "" : " within the budget";
    if (exhaustive_) return fmt::format("grid, all {} submodels{}", total_, within);
    return fmt::format("grid, even sample of {} of {}{}", total_,
                       set_.problem().space.submodels_text(),
                       set_.problem().limits.empty() ? "" : ", within the budget");
  }

 private:
  FeasibleSet set_;
  std::uint64_t total_ = 0;
  bool exhaustive_ = false;
  std::vector<Levels> sample_;  // where not exhaustive
  Levels next_;                 // where exhaustive
  std::uint64_t batch_ = 1;
  AskQueue asked_;
};

}  // namespace

std::unique_ptr<Strategy> make_grid(const SearchProblem& problem,
                                    const StrategySettings& settings) {
  return std::make_unique<Grid>(problem, settings);
}

}  // namespace mnm
