#include "search/designed_start.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace mnm {
namespace {

constexpr std::size_t kUniform = 6;  // uniform members at most
constexpr std::size_t kTries = 100;  // random halves at most, where some are taken already
constexpr int kDraws = 32;           // of which each is the best

// The uniform submodels by ascending width, evenly thinned, between the narrowest and the widest.
std::vector<Levels> ladder(const FeasibleSet& set) {
  const WidthSpace& space = set.problem().space;
  std::vector<Levels> rungs = {set.narrowest()};
  const std::size_t levels = space.levels();
  const std::size_t kept = std::min(levels, kUniform);
  for (std::size_t i = 0; i < kept; ++i) {
    const std::size_t level = kept == 1 ? 0 : i * (levels - 1) / (kept - 1);
    rungs.push_back(set.levels_of(space.uniform(level)));
  }
  rungs.push_back(set.widest());
  const auto repeated = std::ranges::unique(rungs);
  rungs.erase(repeated.begin(), repeated.end());
  return rungs;
}

// +1 for a layer that is above the mean level of its member, -1 below, 0 where all are equal.
std::vector<std::int64_t> signs_of(const Levels& member) {
  const auto layers = static_cast<std::int64_t>(member.size());
  const std::int64_t sum = std::accumulate(member.begin(), member.end(), std::int64_t{0});
  std::vector<std::int64_t> signs;
  for (const std::int32_t level : member) {
    const std::int64_t above = level * layers - sum;
    signs.push_back(above > 0 ? 1 : above < 0 ? -1 : 0);
  }
  return signs;
}

class Start {
 public:
  Start(const FeasibleSet& set, std::size_t count) : set_(set), count_(count) {}

  bool full() const { return members_.size() >= count_; }
  bool open_to(const Levels& member) const {
    return !full() && set_.contains(member) && !taken_.contains(member);
  }
  void offer(const Levels& member) {
    if (!open_to(member)) return;
    members_.push_back(member);
    taken_.insert(member);
    signs_.push_back(signs_of(member));
  }
  // What E(s^2) grows by with this member, but for what depends on the member alone.
  std::int64_t confounding(const Levels& member) const {
    const std::vector<std::int64_t> signs = signs_of(member);
    std::int64_t sum = 0;
    for (const std::vector<std::int64_t>& other : signs_) {
      const std::int64_t alike =
          std::inner_product(signs.begin(), signs.end(), other.begin(), std::int64_t{0});
      sum += alike * alike;
    }
    return sum;
  }
  std::vector<Levels> members() && { return std::move(members_); }

 private:
  const FeasibleSet& set_;
  std::size_t count_;
  LevelsSet taken_;
  std::vector<Levels> members_;
  std::vector<std::vector<std::int64_t>> signs_;  // [members][layers]
};

}  // namespace

std::size_t designed_start_size(const FeasibleSet& set, std::uint64_t evaluations) {
  const std::uint64_t rungs = ladder(set).size();
  const std::uint64_t useful = 3 * rungs + set.layers();
  return static_cast<std::size_t>(
      std::min({evaluations, useful, std::max<std::uint64_t>(12, evaluations / 4)}));
}

std::vector<Levels> designed_start(const FeasibleSet& set, std::size_t count, Random& random) {
  const std::vector<Levels> rungs = ladder(set);
  const std::size_t layers = set.layers();
  Start start(set, count);
  start.offer(set.narrowest());  // where a front begins, whatever the count
  for (std::size_t i = rungs.size(); i-- > 0;) start.offer(rungs[i]);

  const auto half_up = [&](std::size_t rung, const auto& up) {
    Levels member = rungs[rung];
    for (std::size_t l = 0; l < layers; ++l) {
      if (up(l)) member[l] = rungs[rung + 1][l];
    }
    return member;
  };
  for (const bool late : {true, false}) {
    for (std::size_t rung = 0; rung + 1 < rungs.size(); ++rung) {
      start.offer(half_up(rung, [&](std::size_t l) { return late == (2 * l >= layers); }));
    }
  }
  std::vector<std::size_t> order(layers);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t tries = 0; rungs.size() > 1 && !start.full() && tries < kTries; ++tries) {
    std::optional<Levels> best;
    std::int64_t least = 0;
    for (int i = 0; i < kDraws; ++i) {
      random.shuffle(order);
      Levels member =
          half_up(tries % (rungs.size() - 1), [&](std::size_t l) { return 2 * order[l] < layers; });
      set.repair(member, random);
      if (!start.open_to(member)) continue;
      const std::int64_t confounding = start.confounding(member);
      if (best && confounding >= least) continue;
      best = std::move(member);
      least = confounding;
    }
    if (best) start.offer(*best);
  }
  return std::move(start).members();
}

}  // namespace mnm
