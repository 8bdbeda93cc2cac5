#include "heuristics/monotone.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "base/error.h"
#include "heuristics/uniform.h"

namespace mnm {
namespace {

// The lowest level that is a layer's second granularity. All below are its narrowest.
std::size_t second_level(const WidthSpace& space, std::size_t layer) {
  return space.levels() - space.layers[layer].granularities.size() + 1;
}

}  // namespace

// Sequences that differ in widths, and not in levels alone, each by its lowest levels: a layer at
// its narrowest takes the level of the one before.
double monotone_count(const WidthSpace& space) {
  std::vector<double> ending(space.levels(), 0);  // [level]: how many so far end at it
  if (ending.empty()) return 1;
  ending[0] = 1;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    double below = 0;
    for (std::size_t level = 0; level < ending.size(); ++level) {
      below += ending[level];
      if (level >= second_level(space, layer)) ending[level] = below;
    }
  }
  return std::accumulate(ending.begin(), ending.end(), 0.0);
}

std::vector<Widths> monotone_schedule(const WidthSpace& space, std::int64_t limit) {
  const double count = monotone_count(space);
  if (count > static_cast<double>(limit)) {
    fail_usage(
        "the monotone submodels of {} layers with {} granularities are {:.6g}, more than the {} "
        "that can be listed: name fewer granularities, or search with another strategy",
        space.layers.size(), space.levels(), count, limit);
  }
  std::vector<Widths> members;
  members.reserve(static_cast<std::size_t>(count));
  std::vector<std::size_t> levels(space.layers.size(), 0);
  for (;;) {
    members.push_back(widths_at(space, levels));
    // The next in lexicographic order raises the last layer that can be, and brings all after it
    // down to the same level.
    std::size_t layer = levels.size();
    const auto raised = [&] {
      return std::max(levels[layer - 1] + 1, second_level(space, layer - 1));
    };
    while (layer > 0 && raised() >= space.levels()) --layer;
    if (layer == 0) return members;
    std::fill(levels.begin() + static_cast<std::ptrdiff_t>(layer - 1), levels.end(), raised());
  }
}

}  // namespace mnm
