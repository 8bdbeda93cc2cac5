#include "search/subtree_counts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mnm {
namespace {

constexpr std::size_t kSteps = 4096;       // in a table at most
constexpr double kMost = 0x1p1000;         // leaves room to add siblings without overflow
constexpr double kExactIntegers = 0x1p53;  // beyond it a double may stand for several

}  // namespace

std::size_t SubtreeCounts::Table::steps_in(double cost) const {
  return static_cast<std::size_t>(exact ? std::floor(cost / step) : std::round(cost / step));
}

SubtreeCounts::SubtreeCounts(const FeasibleSet& set) : set_(set) {
  const std::size_t layers = set.layers();
  unbound_.assign(layers + 1, 1.0);
  for (std::size_t layer = layers; layer-- > 0;) {
    unbound_[layer] = unbound_[layer + 1] * static_cast<double>(set.levels(layer));
  }
  for (const Limit& limit : set.problem().limits) {
    const double base = limit.cost(set.problem().narrowest());
    const double room = limit.at_most - base;
    if (!std::isfinite(room)) continue;

    std::vector<std::vector<double>> extras(
        layers);  // [layers][levels that fit]: above the narrowest
    std::int64_t divisor = 0;
    bool whole = true;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      Levels levels = set.narrowest();
      for (; levels[layer] < set.levels(layer); ++levels[layer]) {
        const double extra = limit.cost(set.widths(levels)) - base;
        if (!(extra <= room)) break;
        extras[layer].push_back(extra);
        whole = whole && extra == std::floor(extra) && extra < kExactIntegers;
        if (whole) divisor = std::gcd(divisor, static_cast<std::int64_t>(extra));
      }
    }

    Table table;
    table.limit = &limit;
    table.step = static_cast<double>(std::max<std::int64_t>(divisor, 1));
    table.exact = whole && (divisor == 0 || room / table.step < static_cast<double>(kSteps));
    if (!table.exact) table.step = room / static_cast<double>(kSteps);
    const std::size_t steps = divisor == 0 && whole ? 0 : table.steps_in(room);
    table.counts.assign(layers + 1, std::vector<double>(steps + 1, 0.0));
    std::ranges::fill(table.counts[layers], 1.0);
    for (std::size_t layer = layers; layer-- > 0;) {
      for (const double extra : extras[layer]) {
        const std::size_t taken = table.steps_in(extra);
        for (std::size_t left = taken; left <= steps; ++left) {
          table.counts[layer][left] += table.counts[layer + 1][left - taken];
        }
      }
    }
    tables_.push_back(std::move(table));
  }
}

double SubtreeCounts::below(const Levels& prefix, std::size_t depth) const {
  double count = unbound_[depth];
  for (const Table& table : tables_) {
    const double left = table.limit->at_most - table.limit->cost(set_.widths(prefix));
    const std::vector<double>& counts = table.counts[depth];
    count =
        std::min(count, counts[std::min(table.steps_in(std::max(left, 0.0)), counts.size() - 1)]);
  }
  return std::clamp(count, 1.0, kMost);
}

}  // namespace mnm
