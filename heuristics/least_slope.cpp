#include "heuristics/least_slope.h"

#include <utility>

#include "heuristics/uniform.h"

namespace mnm {

std::size_t least_slope_places(const WidthSpace& space) {
  return (space.levels() - 1) * space.layers.size() + 1;
}

Widths least_slope_member(const WidthSpace& space, std::size_t place) {
  const std::size_t layers = space.layers.size();
  std::vector<std::size_t> levels(layers, place / layers);
  for (std::size_t raised = place % layers; raised-- > 0;) ++levels[layers - 1 - raised];
  return widths_at(space, levels);
}

std::vector<Widths> least_slope_schedule(const WidthSpace& space) {
  std::vector<Widths> members;
  for (std::size_t place = 0; place < least_slope_places(space); ++place) {
    Widths widths = least_slope_member(space, place);
    if (members.empty() || members.back() != widths) members.push_back(std::move(widths));
  }
  return members;
}

}  // namespace mnm
