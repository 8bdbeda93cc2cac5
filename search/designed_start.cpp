#include "search/designed_start.h"

#include <algorithm>
#include <numeric>

namespace mnm {
namespace {

constexpr std::size_t kUniform = 6;  // uniform members at most
constexpr int kTries = 1000;         // random halves that were taken already or over the budget

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

class Start {
 public:
  Start(const FeasibleSet& set, std::size_t count) : set_(set), count_(count) {}

  bool full() const { return members_.size() >= count_; }
  void offer(const Levels& member) {
    if (!full() && set_.contains(member) && taken_.insert(member).second) {
      members_.push_back(member);
    }
  }
  std::vector<Levels> members() && { return std::move(members_); }

 private:
  const FeasibleSet& set_;
  std::size_t count_;
  LevelsSet taken_;
  std::vector<Levels> members_;
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
  for (int tries = 0; rungs.size() > 1 && !start.full() && tries < kTries; ++tries) {
    random.shuffle(order);
    const std::size_t rung = static_cast<std::size_t>(tries) % (rungs.size() - 1);
    Levels member = half_up(rung, [&](std::size_t l) { return 2 * order[l] < layers; });
    set.repair(member, random);
    start.offer(member);
  }
  return std::move(start).members();
}

}  // namespace mnm
