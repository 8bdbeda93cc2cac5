#include <algorithm>
#include <numeric>

#include "search/candidate_pool.h"

namespace mnm {
namespace {

class ListedPool final : public CandidatePool {
 public:
  explicit ListedPool(const FeasibleSet& set) : layers_(set.layers()) {
    Levels member = set.narrowest();
    do {
      levels_.insert(levels_.end(), member.begin(), member.end());
      costs_.push_back(set.problem().cost(set.widths(member)));
    } while (set.advance(member));
    taken_.assign(costs_.size(), false);
  }

  std::vector<Candidate> near_front(const PairTable& losses, const LevelsSet& taken,
                                    std::size_t count) override {
    std::vector<std::size_t> left;
    std::vector<Point> points;
    for (std::size_t i = 0; i < costs_.size(); ++i) {
      if (taken_[i]) continue;
      if (taken.contains(levels(i))) {
        taken_[i] = true;
        continue;
      }
      left.push_back(i);
      points.push_back({costs_[i], losses.value({&levels_[i * layers_], layers_})});
    }
    const std::vector<int> ranks = ranks_of(points);
    std::vector<std::size_t> order(left.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return ranks[i]; });
    std::vector<Candidate> near;
    for (const std::size_t i : order) {
      if (near.size() == count) break;
      near.push_back({levels(left[i]), costs_[left[i]]});
    }
    return near;
  }

 private:
  Levels levels(std::size_t i) const {
    const auto at = levels_.begin() + static_cast<std::ptrdiff_t>(i * layers_);
    return Levels(at, at + static_cast<std::ptrdiff_t>(layers_));
  }

  std::size_t layers_;
  std::vector<std::int32_t> levels_;  // [members][layers]
  std::vector<double> costs_;         // [members]
  std::vector<bool> taken_;           // [members]: as of the last call
};

}  // namespace

std::unique_ptr<CandidatePool> make_listed_pool(const FeasibleSet& set) {
  return std::make_unique<ListedPool>(set);
}

}  // namespace mnm
