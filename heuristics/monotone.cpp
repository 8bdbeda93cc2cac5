#include "heuristics/monotone.h"

#include <algorithm>
#include <cstddef>

#include "heuristics/uniform.h"
#include "model/error.h"

namespace mnm {

double monotone_count(const WidthSpace& space) {
  const double layers = static_cast<double>(space.layers.size());
  double count = 1;
  // After step i the product is C(layers + i, i), a whole number.
  for (std::size_t i = 1; i < space.levels(); ++i) {
    count = count * (layers + static_cast<double>(i)) / static_cast<double>(i);
  }
  return count;
}

std::vector<Widths> monotone_schedule(const WidthSpace& space, std::int64_t limit) {
  const double count = monotone_count(space);
  if (count > static_cast<double>(limit)) {
    fail_usage(
        "the monotone submodels of {} layers with {} granularities are {:.6g}, more than the {} "
        "that "
        "can be listed: name fewer granularities, or search with another strategy",
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
    while (layer > 0 && levels[layer - 1] + 1 == space.levels()) --layer;
    if (layer == 0) return members;
    std::fill(levels.begin() + static_cast<std::ptrdiff_t>(layer - 1), levels.end(),
              levels[layer - 1] + 1);
  }
}

}  // namespace mnm
