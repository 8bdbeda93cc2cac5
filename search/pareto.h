// Pareto arithmetic on (cost, loss), both minimised.
//
// A point with a NaN or infinite coordinate is a failed one. Every finite point dominates it, and
// it dominates nothing. It is never on a front and covers no area.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace mnm {

struct Point {
  double cost = 0;
  double loss = 0;
};

// Whether a is at most b in both coordinates and less in one.
bool dominates(const Point& a, const Point& b);

// Indices of the finite points that no other point dominates, by ascending cost. Of equal points
// the first is taken. O(n log n).
std::vector<std::size_t> front_of(std::span<const Point> points);

// The front number of every point; 0 is the best (non-dominated sorting). The number is one more
// than the largest among the points that dominate it. Equal points share a number. Failed points
// get the last number. O(n log n).
std::vector<int> ranks_of(std::span<const Point> points);

// Crowding distance within one front (Deb et al. 2002, section III-B): for each coordinate the gap
// between a point's two neighbours, relative to the range of the front, summed over both
// coordinates. It is infinite at the two ends and 0 for failed points. A coordinate in which all
// points agree adds nothing. O(n log n).
std::vector<double> crowding_of(std::span<const Point> front);

}  // namespace mnm
