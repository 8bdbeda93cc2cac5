#include "search/layer_sensitivity.h"

#include <algorithm>
#include <cmath>

namespace mnm {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// Fills what is not known between and beyond what is; false where nothing is.
bool interpolate(std::vector<double>& values) {
  std::size_t before = values.size();  // the last known place
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    for (std::size_t j = before == values.size() ? 0 : before + 1; j < i; ++j) {
      const double share = before == values.size()
                               ? 1
                               : static_cast<double>(j - before) / static_cast<double>(i - before);
      values[j] = before == values.size() ? values[i]
                                          : values[before] + share * (values[i] - values[before]);
    }
    before = i;
  }
  if (before == values.size()) return false;
  std::fill(values.begin() + static_cast<std::ptrdiff_t>(before), values.end(), values[before]);
  return true;
}

}  // namespace

Levels sensitivity_base(const FeasibleSet& set) {
  if (set.contains(set.widest())) return set.widest();
  const WidthSpace& space = set.problem().space;
  for (std::size_t level = space.levels(); level-- > 0;) {
    const Levels uniform = set.levels_of(space.uniform(level));
    if (set.contains(uniform)) return uniform;
  }
  return set.narrowest();
}

std::vector<Levels> sensitivity_members(const FeasibleSet& set) {
  const Levels base = sensitivity_base(set);
  std::vector<Levels> members = {base};
  for (std::size_t layer = 0; layer < set.layers(); ++layer) {
    for (std::int32_t level = 0; level < set.levels(layer); ++level) {
      Levels member = base;
      member[layer] = level;
      if (level != base[layer] && set.contains(member)) members.push_back(std::move(member));
    }
  }
  return members;
}

std::vector<std::vector<double>> additive_losses(const FeasibleSet& set,
                                                 std::span<const Levels> members,
                                                 std::span<const double> losses) {
  std::vector<std::vector<double>> table;
  for (std::size_t layer = 0; layer < set.layers(); ++layer) {
    table.emplace_back(static_cast<std::size_t>(set.levels(layer)), kUnknown);
  }
  const Levels base = members.empty() ? sensitivity_base(set) : members[0];
  for (std::size_t i = 1; i < members.size(); ++i) {
    for (std::size_t layer = 0; layer < set.layers(); ++layer) {
      if (members[i][layer] == base[layer]) continue;
      const double difference = losses[i] - losses[0];
      if (std::isfinite(difference)) {
        table[layer][static_cast<std::size_t>(members[i][layer])] = difference;
      }
    }
  }
  std::vector<bool> known;
  for (std::size_t layer = 0; layer < set.layers(); ++layer) {
    const auto measured =
        std::ranges::count_if(table[layer], [](double v) { return !std::isnan(v); });
    table[layer][static_cast<std::size_t>(base[layer])] = 0;
    known.push_back(measured > 0 && interpolate(table[layer]));
  }
  for (std::size_t layer = 0; layer < set.layers(); ++layer) {
    for (std::size_t level = 0; level < table[layer].size() && !known[layer]; ++level) {
      double sum = 0, count = 0;
      for (std::size_t other = 0; other < set.layers(); ++other) {
        if (!known[other] || level >= table[other].size()) continue;
        sum += table[other][level];
        ++count;
      }
      table[layer][level] = count > 0 ? sum / count : 0;
    }
  }
  return table;
}

}  // namespace mnm
