#include "heuristics/uniform.h"

namespace mnm {

Widths widths_at(const WidthSpace& space, std::span<const std::size_t> levels) {
  Widths widths;
  widths.reserve(levels.size());
  for (std::size_t layer = 0; layer < levels.size(); ++layer) {
    const std::vector<Width>& own = space.layers[layer].granularities;
    widths.push_back(own[rank_of_level(levels[layer], space.levels(), own.size())]);
  }
  return widths;
}

std::vector<Widths> uniform_schedule(const WidthSpace& space) {
  std::vector<Widths> members;
  for (std::size_t level = 0; level < space.levels(); ++level) {
    members.push_back(space.uniform(level));
  }
  return members;
}

}  // namespace mnm
