// The area that a submodel of uncertain loss is expected to add to a front.
#pragma once

#include <span>
#include <vector>

#include "search/pareto.h"

namespace mnm {

class Staircase {
 public:
  // The front of `points` within the box that ends at `reference`.
  Staircase(std::span<const Point> points, const Point& reference);

  // The smallest loss at no more than this cost; the reference's where there is none.
  double loss_at(double cost) const;

  // The expected gain of hypervolume by a submodel of this cost, whose loss is normal: the integral
  // over costs from its own to the reference's of what its loss is expected to lie below
  // loss_at(). Emmerich, Deutz and Klinkenberg (2011), for two objectives one of which is certain.
  double expected_gain(double cost, double mean, double deviation) const;

  void add(const Point& point);

 private:
  std::vector<Point> steps_;  // ascending cost, descending loss
  Point reference_;
};

}  // namespace mnm
