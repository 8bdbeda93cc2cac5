// Pareto arithmetic on (cost, loss), both minimised.
//
// A point with a NaN or infinite coordinate is a failed one: every finite point dominates it, it
// dominates nothing, it is never on a front and covers no area.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace mnm {

struct Point {
  double cost = 0;
  double loss = 0;
};

// a is at most b in both and less in one.
bool dominates(const Point& a, const Point& b);

// Indices of the finite points that no other dominates, by ascending cost; of equal points the
// first. O(n log n).
std::vector<std::size_t> front_of(std::span<const Point> points);

// Front number of every point, 0 the best (non-dominated sorting: a point's number is one more than
// the largest among those that dominate it). Equal points share a number, failed ones the last.
// O(n log n).
std::vector<int> ranks_of(std::span<const Point> points);

// Crowding distance within one front (Deb et al. 2002, section III-B): the sum over both
// coordinates of the gap between a point's neighbours, relative to the front's range; infinite at
// the two ends, 0 for failed points. A coordinate in which all points agree adds nothing. O(n log
// n).
std::vector<double> crowding_of(std::span<const Point> front);

}  // namespace mnm
