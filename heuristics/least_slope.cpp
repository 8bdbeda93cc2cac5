#include "heuristics/least_slope.h"

#include <cstddef>
#include <utility>

#include "heuristics/uniform.h"

namespace mnm {
namespace {

// Appends what is not the last member already.
void add(std::vector<Widths>& members, Widths widths) {
  if (members.empty() || members.back() != widths) members.push_back(std::move(widths));
}

}  // namespace

std::vector<Widths> least_slope_schedule(const WidthSpace& space) {
  const std::size_t layers = space.layers.size();
  std::vector<Widths> members;
  for (std::size_t level = 0; level < space.levels(); ++level) {
    add(members, space.uniform(level));
    if (level + 1 == space.levels()) break;
    std::vector<std::size_t> levels(layers, level);
    for (std::size_t layer = layers; layer-- > 1;) {  // layer 0 would make the next uniform one
      levels[layer] = level + 1;
      add(members, widths_at(space, levels));
    }
  }
  return members;
}

}  // namespace mnm
