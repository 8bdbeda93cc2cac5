// Candidates of a space that is too large to list: exact fronts of the single and neighbouring
// terms (chain_front.h), with the terms of distant layers as they are around a centre; then an
// evolution over slices of cost, whose members are bettered by every change of one layer, by every
// exchange of a level between two layers, and by crossing neighbouring slices.
#include <algorithm>
#include <cmath>
#include <optional>

#include "search/candidate_pool.h"
#include "search/chain_front.h"

namespace mnm {
namespace {

constexpr std::size_t kSlices = 128;        // of cost
constexpr std::size_t kStates = 256;        // of the dynamic programming, per layer and level
constexpr std::size_t kCentres = 6;         // that distant terms are taken around
constexpr std::size_t kExpansions = 1024;   // members that are bettered, per call
constexpr std::size_t kCostCalls = 50'000;  // where costs are not additive

class SearchedPool final : public CandidatePool {
 public:
  explicit SearchedPool(const FeasibleSet& set) : set_(set), cost_(set, set.problem().cost) {
    for (const Limit& limit : set.problem().limits) limits_.emplace_back(set, limit.cost);
    additive_ = cost_.additive() &&
                std::ranges::all_of(limits_, [](const AdditiveCost& l) { return l.additive(); });
  }

  std::vector<Candidate> near_front(const PairTable& losses, const LevelsSet& taken,
                                    std::size_t count) override {
    losses_ = &losses;
    taken_ = &taken;
    kept_ = std::max<std::size_t>(4, 2 * count / kSlices);
    slices_.assign(kSlices, {});
    seen_.clear();
    cost_calls_ = 0;
    low_ = cost_.base();
    high_ = low_;
    for (const Levels& member : set_in_order(taken)) high_ = std::max(high_, cost_.of(member));
    const std::vector<Levels> first = chains({set_.narrowest(), top()});
    for (const Levels& member : first) high_ = std::max(high_, cost_.of(member));
    for (const Levels& member : set_in_order(taken)) offer(member);
    for (const Levels& member : first) offer(member);
    for (int round = 0; round < 2; ++round) {
      for (const Levels& member : chains(centres())) offer(member);
      better(kExpansions / 2);
    }
    return chosen(count);
  }

 private:
  struct Member {
    Levels levels;
    Point point;
    bool expanded = false;
  };

  // Hash sets have no order that could be relied on.
  static std::vector<Levels> set_in_order(const LevelsSet& members) {
    std::vector<Levels> sorted(members.begin(), members.end());
    std::ranges::sort(sorted);
    return sorted;
  }

  Levels top() const {  // a wide member, by widening the layers one after the other
    Levels member = set_.narrowest();
    for (std::size_t layer = set_.layers(); layer-- > 0;) {
      for (member[layer] = set_.levels(layer) - 1; !set_.contains(member);) --member[layer];
    }
    return member;
  }

  // The fronts of single and neighbouring terms, with those of distant layers as around each
  // centre.
  std::vector<Levels> chains(const std::vector<Levels>& centres) const {
    std::vector<Levels> all;
    for (const Levels& centre : centres) {
      ChainProblem problem{set_, cost_, limits_, {}, losses_, kStates};
      for (std::size_t l = 0; l < set_.layers(); ++l) {
        problem.single.emplace_back();
        for (std::int32_t level = 0; level < set_.levels(l); ++level) {
          double sum = losses_->single(l, level);
          for (std::size_t m = 0; m < set_.layers(); ++m) {
            if (m + 1 < l || m > l + 1) sum += losses_->term(l, m, level, centre[m]);
          }
          problem.single.back().push_back(sum);
        }
      }
      for (Levels& member : chain_front(problem)) all.push_back(std::move(member));
    }
    return all;
  }

  // The best of every few slices.
  std::vector<Levels> centres() const {
    std::vector<Levels> all;
    for (std::size_t s = 0; s < kCentres; ++s) {
      const Member* best = nullptr;
      for (std::size_t i = s * kSlices / kCentres; i < (s + 1) * kSlices / kCentres; ++i) {
        if (!slices_[i].empty()) best = &slices_[i].front();
      }
      if (best != nullptr) all.push_back(best->levels);
    }
    return all;
  }

  std::size_t slice_of(double cost) const {
    if (!(high_ > low_)) return 0;
    const double share = std::clamp((cost - low_) / (high_ - low_), 0.0, 1.0);
    return std::min(kSlices - 1, static_cast<std::size_t>(share * kSlices));
  }

  // Whether a member of this cost and loss would be kept.
  bool wanted(double cost, double loss) const {
    const std::vector<Member>& slice = slices_[slice_of(cost)];
    return slice.size() < kept_ || loss < slice.back().point.loss;
  }

  void offer(const Levels& levels) {
    if (!seen_.insert(levels).second || !set_.contains(levels)) return;
    const Point point{cost_.of(levels), losses_->value(levels)};
    if (!wanted(point.cost, point.loss)) return;
    std::vector<Member>& slice = slices_[slice_of(point.cost)];
    const auto at = std::ranges::upper_bound(slice, point.loss, {},
                                             [](const Member& m) { return m.point.loss; });
    slice.insert(at, {levels, point, false});
    if (slice.size() > kept_) slice.pop_back();
  }

  bool fits(const Levels& member, std::size_t layer, std::int32_t level, std::size_t other,
            std::int32_t other_level) const {
    for (std::size_t i = 0; i < limits_.size(); ++i) {
      double sum = limits_[i].base();
      for (std::size_t l = 0; l < member.size(); ++l) {
        sum += limits_[i].part(l, l == layer ? level : l == other ? other_level : member[l]);
      }
      if (!(sum <= set_.problem().limits[i].at_most)) return false;
    }
    return true;
  }

  // Every change of one layer, and every exchange: one layer a level up, another a level down.
  void expand(const Member& from) {
    const std::size_t layers = set_.layers();
    const Levels& levels = from.levels;
    std::vector<std::vector<double>> fields(layers);
    for (std::size_t l = 0; l < layers; ++l) losses_->field(levels, l, fields[l]);
    const auto change = [&](std::size_t l, std::int32_t to) {
      return fields[l][static_cast<std::size_t>(to)] -
             fields[l][static_cast<std::size_t>(levels[l])];
    };
    const auto consider = [&](std::size_t l, std::int32_t a, std::size_t m, std::int32_t b,
                              double loss) {
      Levels child = levels;
      child[l] = a;
      child[m] = b;
      double cost = from.point.cost;
      if (additive_) {
        cost += cost_.part(l, a) - cost_.part(l, levels[l]);
        if (m != l) cost += cost_.part(m, b) - cost_.part(m, levels[m]);
      } else {
        if (++cost_calls_ > kCostCalls) return;
        cost = cost_.of(child);
      }
      if (!wanted(cost, loss)) return;
      if (additive_ && !fits(levels, l, a, m, b)) return;
      offer(child);
    };
    for (std::size_t l = 0; l < layers; ++l) {
      for (std::int32_t a = 0; a < set_.levels(l); ++a) {
        if (a != levels[l]) consider(l, a, l, a, from.point.loss + change(l, a));
      }
      const std::int32_t up = levels[l] + 1;
      if (up == set_.levels(l)) continue;
      for (std::size_t m = 0; m < layers; ++m) {
        const std::int32_t down = levels[m] - 1;
        if (m == l || down < 0) continue;
        const double together = losses_->term(l, m, up, down) - losses_->term(l, m, up, levels[m]) -
                                losses_->term(l, m, levels[l], down) +
                                losses_->term(l, m, levels[l], levels[m]);
        consider(l, up, m, down, from.point.loss + change(l, up) + change(m, down) + together);
      }
    }
  }

  // The best member of each slice and of the next one, cut at each layer.
  void cross() {
    const Member* before = nullptr;
    std::vector<Levels> children;
    for (const std::vector<Member>& slice : slices_) {
      if (slice.empty()) continue;
      if (before != nullptr) {
        for (std::size_t cut = 1; cut < set_.layers(); ++cut) {
          for (const auto& [one, other] :
               {std::pair(before, &slice.front()), std::pair(&slice.front(), before)}) {
            Levels child = one->levels;
            std::copy(other->levels.begin() + static_cast<std::ptrdiff_t>(cut), other->levels.end(),
                      child.begin() + static_cast<std::ptrdiff_t>(cut));
            children.push_back(std::move(child));
          }
        }
      }
      before = &slice.front();
    }
    for (const Levels& child : children) offer(child);
  }

  // Expands the best member of each slice that was not, round by round.
  void better(std::size_t expansions) {
    for (bool moved = true; moved && expansions > 0;) {
      moved = false;
      for (std::size_t s = 0; s < kSlices && expansions > 0; ++s) {
        for (std::size_t i = 0; i < std::min<std::size_t>(2, slices_[s].size()); ++i) {
          if (slices_[s][i].expanded) continue;
          slices_[s][i].expanded = true;
          const Member copy = slices_[s][i];  // offers move the slice
          expand(copy);
          moved = true;
          --expansions;
          break;
        }
      }
      if (moved) cross();
    }
  }

  std::vector<Candidate> chosen(std::size_t count) const {
    std::vector<const Member*> members;
    std::vector<Point> points;
    for (const std::vector<Member>& slice : slices_) {
      for (const Member& member : slice) {
        if (taken_->contains(member.levels)) continue;
        members.push_back(&member);
        points.push_back(member.point);
      }
    }
    const std::vector<int> ranks = ranks_of(points);
    std::vector<std::size_t> order(members.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return ranks[i]; });
    std::vector<Candidate> near;
    for (const std::size_t i : order) {
      if (near.size() == count) break;
      near.push_back({members[i]->levels, members[i]->point.cost});
    }
    return near;
  }

  const FeasibleSet& set_;
  AdditiveCost cost_;
  std::vector<AdditiveCost> limits_;
  bool additive_ = true;

  // Of the call under way.
  const PairTable* losses_ = nullptr;
  const LevelsSet* taken_ = nullptr;
  std::size_t kept_ = 0;                     // members of a slice
  std::vector<std::vector<Member>> slices_;  // [kSlices], each by ascending loss
  LevelsSet seen_;
  double low_ = 0, high_ = 0;  // costs
  std::size_t cost_calls_ = 0;
};

}  // namespace

std::unique_ptr<CandidatePool> make_searched_pool(const FeasibleSet& set) {
  return std::make_unique<SearchedPool>(set);
}

}  // namespace mnm
