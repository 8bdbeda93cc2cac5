#include "search/pair_table.h"

#include <utility>

namespace mnm {

PairTable::PairTable(std::vector<std::int32_t> levels)
    : levels_(std::move(levels)), pair_at_(levels_.size() * levels_.size(), 0) {
  std::size_t singles = 0, pairs = 0;
  for (std::size_t l = 0; l < layers(); ++l) {
    single_at_.push_back(singles);
    singles += static_cast<std::size_t>(levels_[l]);
    for (std::size_t m = l + 1; m < layers(); ++m) {
      pair_at_[l * layers() + m] = pairs;
      pairs += static_cast<std::size_t>(levels_[l]) * static_cast<std::size_t>(levels_[m]);
    }
  }
  single_.assign(singles, 0);
  pair_.assign(pairs, 0);
}

double PairTable::value(std::span<const std::int32_t> levels) const {
  double sum = constant_;
  for (std::size_t l = 0; l < layers(); ++l) {
    sum += single(l, levels[l]);
    for (std::size_t m = l + 1; m < layers(); ++m) sum += pair(l, m, levels[l], levels[m]);
  }
  return sum;
}

void PairTable::field(std::span<const std::int32_t> levels, std::size_t layer,
                      std::vector<double>& out) const {
  out.resize(static_cast<std::size_t>(levels_[layer]));
  for (std::int32_t level = 0; level < levels_[layer]; ++level) {
    double sum = single(layer, level);
    for (std::size_t other = 0; other < layers(); ++other) {
      if (other != layer) sum += term(layer, other, level, levels[other]);
    }
    out[static_cast<std::size_t>(level)] = sum;
  }
}

}  // namespace mnm
