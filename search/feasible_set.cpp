#include "search/feasible_set.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace mnm {
namespace {

// a * b, or `cap` where that is less.
std::uint64_t capped_product(std::uint64_t a, std::uint64_t b, std::uint64_t cap) {
  return b != 0 && a > cap / b ? cap : std::min(a * b, cap);
}

}  // namespace

std::size_t LevelsHash::operator()(const Levels& levels) const {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a over levels
  for (const std::int32_t level : levels) {
    hash = (hash ^ static_cast<std::uint32_t>(level)) * 0x100000001b3u;
  }
  return static_cast<std::size_t>(hash ^ (hash >> 32));
}

FeasibleSet::FeasibleSet(const SearchProblem& problem) : problem_(problem) {
  if (problem_.space.layers.empty()) fail_usage("a model without layers has nothing to search");
  problem_.require_feasible();
  for (std::size_t layer = 0; layer < problem_.space.layers.size(); ++layer) {
    choices_.push_back(problem_.space.choices(layer));
  }
}

Widths FeasibleSet::widths(const Levels& levels) const {
  Widths widths(levels.size());
  for (std::size_t layer = 0; layer < levels.size(); ++layer) {
    widths[layer] = choices_[layer][static_cast<std::size_t>(levels[layer])];
  }
  return widths;
}

Levels FeasibleSet::levels_of(const Widths& widths) const {
  assert(widths.size() == layers());
  Levels levels(widths.size());
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    const auto found = std::ranges::find(choices_[layer], widths[layer]);
    assert(found != choices_[layer].end());
    levels[layer] = static_cast<std::int32_t>(found - choices_[layer].begin());
  }
  return levels;
}

bool FeasibleSet::contains(const Levels& levels) const {
  for (std::size_t layer = 0; layer < layers(); ++layer) {
    if (levels[layer] < 0 || levels[layer] >= this->levels(layer)) return false;
  }
  return problem_.limits.empty() || problem_.feasible(widths(levels));
}

Levels FeasibleSet::widest() const {
  Levels levels(layers());
  for (std::size_t layer = 0; layer < layers(); ++layer) levels[layer] = this->levels(layer) - 1;
  return levels;
}

bool FeasibleSet::advance(Levels& member) const {
  for (std::size_t layer = layers(); layer-- > 0;) {
    ++member[layer];
    if (contains(member)) return true;  // everything after it is at its narrowest already
    member[layer] = 0;
  }
  return false;
}

std::uint64_t FeasibleSet::count(std::uint64_t cap) const {
  Levels prefix = narrowest();
  return count_below(prefix, 0, cap);
}

// Members that agree with `prefix` before `layer`, from which on it is at its narrowest, a member.
std::uint64_t FeasibleSet::count_below(Levels& prefix, std::size_t layer, std::uint64_t cap) const {
  if (layer == layers()) return std::min<std::uint64_t>(1, cap);
  const Levels top = widest();
  std::copy(top.begin() + static_cast<std::ptrdiff_t>(layer), top.end(),
            prefix.begin() + static_cast<std::ptrdiff_t>(layer));
  const bool whole = contains(prefix);
  std::fill(prefix.begin() + static_cast<std::ptrdiff_t>(layer), prefix.end(), 0);
  if (whole) {
    std::uint64_t product = 1;
    for (std::size_t l = layer; l < layers(); ++l) {
      product = capped_product(product, static_cast<std::uint64_t>(levels(l)), cap);
    }
    return product;
  }
  std::uint64_t sum = 0;
  while (sum < cap && contains(prefix)) {
    sum += count_below(prefix, layer + 1, cap - sum);
    ++prefix[layer];
  }
  prefix[layer] = 0;
  return sum;
}

void FeasibleSet::redraw(Levels& member, Random& random) const {
  std::vector<std::size_t> order(layers());
  std::iota(order.begin(), order.end(), std::size_t{0});
  random.shuffle(order);
  for (const std::size_t layer : order) {
    member[layer] = levels(layer) - 1;
    if (!contains(member)) {  // limits are monotone: halve what may be the highest that they leave
      std::int32_t inside = 0, outside = member[layer];
      while (outside - inside > 1) {
        member[layer] = inside + (outside - inside) / 2;
        (contains(member) ? inside : outside) = member[layer];
      }
      member[layer] = inside;
    }
    member[layer] =
        static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(member[layer]) + 1));
  }
}

void FeasibleSet::repair(Levels& candidate, Random& random) const {
  std::vector<std::size_t> wide;  // layers that can be narrowed
  for (std::size_t layer = 0; layer < layers(); ++layer) {
    if (candidate[layer] > 0) wide.push_back(layer);
  }
  while (!wide.empty() && !contains(candidate)) {
    const auto at = static_cast<std::size_t>(random.below(wide.size()));
    if (--candidate[wide[at]] == 0) {
      wide[at] = wide.back();
      wide.pop_back();
    }
  }
}

}  // namespace mnm
