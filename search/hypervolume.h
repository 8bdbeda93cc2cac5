// The hypervolume of a set of (cost, loss) points: how much a front covers.
#pragma once

#include <span>

#include "search/pareto.h"

namespace mnm {

// The area that the points dominate, within the box that ends at `reference`. Points that do not
// lie strictly inside the box cover nothing. The area is not normalised: divide it by that of
// another set to compare. O(n log n).
double hypervolume(std::span<const Point> points, const Point& reference);

}  // namespace mnm
