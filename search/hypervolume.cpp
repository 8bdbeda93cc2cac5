#include "search/hypervolume.h"

#include <cstddef>

namespace mnm {

double hypervolume(std::span<const Point> points, const Point& reference) {
  double area = 0;
  double ceiling = reference.loss;
  for (const std::size_t i : front_of(points)) {
    const Point& p = points[i];
    if (p.cost >= reference.cost || p.loss >= ceiling) continue;
    area += (reference.cost - p.cost) * (ceiling - p.loss);
    ceiling = p.loss;
  }
  return area;
}

}  // namespace mnm
