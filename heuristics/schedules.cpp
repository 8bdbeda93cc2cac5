#include "heuristics/schedules.h"

#include <algorithm>
#include <numeric>

#include "model/error.h"

namespace mnm {
namespace {

using Levels = std::vector<std::size_t>;  // [layers]

Widths at(const WidthSpace& space, const Levels& levels) {
  Widths widths;
  widths.reserve(levels.size());
  for (std::size_t layer = 0; layer < levels.size(); ++layer) {
    widths.push_back(space.layers[layer].granularities[levels[layer]]);
  }
  return widths;
}

}  // namespace

std::vector<Widths> uniform_schedule(const WidthSpace& space) {
  std::vector<Widths> members;
  for (std::size_t level = 0; level < space.levels(); ++level) {
    members.push_back(space.uniform(level));
  }
  return members;
}

std::vector<Widths> least_slope_schedule(const WidthSpace& space) {
  const std::size_t layers = space.layers.size();
  std::vector<Widths> members;
  for (std::size_t level = 0; level < space.levels(); ++level) {
    members.push_back(space.uniform(level));
    if (level + 1 == space.levels()) break;
    Levels levels(layers, level);
    for (std::size_t layer = layers; layer-- > 1;) {  // layer 0 would make the next uniform one
      levels[layer] = level + 1;
      members.push_back(at(space, levels));
    }
  }
  return members;
}

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
  Levels levels(space.layers.size(), 0);
  for (;;) {
    members.push_back(at(space, levels));
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
