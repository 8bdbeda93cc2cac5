// Pareto arithmetic on (cost, loss), both minimised.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace mnm {

struct Point {
  double cost = 0;
  double loss = 0;
};

// a is at most b in both and less in one. NaN dominates nothing and is dominated by every number.
bool dominates(const Point& a, const Point& b);

// Indices of the points that no other dominates, by ascending cost; of equal points the first.
// Points with a NaN or infinite loss are never on it. O(n log n).
std::vector<std::size_t> front_of(std::span<const Point> points);

// Front number of every point, 0 the best (non-dominated sorting), O(n log n) for two objectives.
std::vector<int> ranks_of(std::span<const Point> points);
// Crowding distance within one front (Deb et al. 2002, section III-B); infinite at its ends.
std::vector<double> crowding_of(std::span<const Point> front);

// Area dominated by the points within the box that ends at `reference`; points beyond it do not
// count. Unnormalised: divide by another set's to compare.
double hypervolume(std::span<const Point> points, const Point& reference);

}  // namespace mnm
