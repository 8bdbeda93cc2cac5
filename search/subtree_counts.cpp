#include "search/subtree_counts.h"

#include <algorithm>
#include <cmath>

namespace mnm {
namespace {

constexpr std::size_t kSteps = 1024;

}  // namespace

SubtreeCounts::SubtreeCounts(const FeasibleSet& set) : set_(set) {
  const std::size_t layers = set.layers();
  unbound_.assign(layers + 1, 1.0);
  for (std::size_t layer = layers; layer-- > 0;) {
    unbound_[layer] = unbound_[layer + 1] * static_cast<double>(set.levels(layer));
  }
  for (const Limit& limit : set.problem().limits) {
    if (std::isinf(limit.at_most)) continue;
    Table table;
    table.limit = &limit;
    Levels levels = set.narrowest();
    const double base = limit.cost(set.widths(levels));
    table.step = (limit.at_most - base) / static_cast<double>(kSteps);
    table.counts.assign(layers + 1, std::vector<double>(kSteps + 1, 0.0));
    std::ranges::fill(table.counts[layers], 1.0);
    for (std::size_t layer = layers; layer-- > 0;) {
      for (std::int32_t level = 0; level < set.levels(layer); ++level) {
        levels[layer] = level;
        const double extra = limit.cost(set.widths(levels)) - base;
        if (extra > limit.at_most - base) break;
        const auto taken =
            extra > 0 ? std::min(static_cast<std::size_t>(std::lround(extra / table.step)), kSteps)
                      : std::size_t{0};
        for (std::size_t left = taken; left <= kSteps; ++left) {
          table.counts[layer][left] += table.counts[layer + 1][left - taken];
        }
      }
      levels[layer] = 0;
    }
    tables_.push_back(std::move(table));
  }
}

double SubtreeCounts::below(const Levels& prefix, std::size_t depth) const {
  double count = unbound_[depth];
  for (const Table& table : tables_) {
    const double left = table.limit->at_most - table.limit->cost(set_.widths(prefix));
    const auto steps =
        table.step > 0 ? std::min(static_cast<std::size_t>(std::lround(left / table.step)), kSteps)
                       : std::size_t{0};
    count = std::min(count, table.counts[depth][steps]);
  }
  return std::max(count, 1.0);
}

}  // namespace mnm
