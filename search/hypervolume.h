// The hypervolume of a set of (cost, loss) points: how much a front covers.
#pragma once

#include <span>

#include "search/pareto.h"

namespace mnm {

// Area dominated by the points within the box that ends at `reference`; points that do not lie
// strictly inside it cover nothing. Unnormalised: divide by another set's to compare. O(n log n).
double hypervolume(std::span<const Point> points, const Point& reference);

}  // namespace mnm
