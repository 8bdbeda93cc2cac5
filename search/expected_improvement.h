// The area that a submodel whose loss is uncertain is expected to add to a front.
#pragma once

#include <span>
#include <vector>

#include "search/pareto.h"

namespace mnm {

// The corner of the box that the front of `points` is valued in. It lies beyond the front's largest
// loss and beyond the largest cost, by the mean step from one member of the front to the next. So
// the cheapest and the best member count as much as any other (Ishibuchi, Imada, Setoguchi and
// Nojima 2018), and a loss far off the front moves nothing. `points` are finite; not empty.
Point box_corner(std::span<const Point> points);

class ExpectedImprovement {
 public:
  // The front of `points` within the box that ends at `reference`.
  ExpectedImprovement(std::span<const Point> points, const Point& reference);

  // The smallest loss at this cost or less; the loss of the reference if there is none.
  double loss_at(double cost) const;

  // The expected gain in hypervolume from a submodel of this cost whose loss is normally
  // distributed. It is an integral over costs, from its own to the reference's, of the expected
  // amount by which its loss lies below loss_at(). Emmerich, Deutz and Klinkenberg (2011), for two
  // objectives of which one is certain.
  double expected_gain(double cost, double mean, double deviation) const;

  void add(const Point& point);

 private:
  std::vector<Point> steps_;  // ascending cost, descending loss
  Point reference_;
};

}  // namespace mnm
