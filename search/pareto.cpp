#include "search/pareto.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace mnm {
namespace {

bool is_finite(const Point& p) { return std::isfinite(p.cost) && std::isfinite(p.loss); }

// The finite points by cost, then loss, then place: whatever dominates a point comes before it.
std::vector<std::size_t> sorted_finite(std::span<const Point> points) {
  std::vector<std::size_t> order;
  order.reserve(points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (is_finite(points[i])) order.push_back(i);
  }
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    if (points[a].cost != points[b].cost) return points[a].cost < points[b].cost;
    if (points[a].loss != points[b].loss) return points[a].loss < points[b].loss;
    return a < b;
  });
  return order;
}

}  // namespace

bool dominates(const Point& a, const Point& b) {
  if (!is_finite(a)) return false;
  if (!is_finite(b)) return true;
  return a.cost <= b.cost && a.loss <= b.loss && (a.cost < b.cost || a.loss < b.loss);
}

std::vector<std::size_t> front_of(std::span<const Point> points) {
  std::vector<std::size_t> front;
  double best = std::numeric_limits<double>::infinity();
  for (const std::size_t i : sorted_finite(points)) {
    if (points[i].loss < best) {
      best = points[i].loss;
      front.push_back(i);
    }
  }
  return front;
}

std::vector<int> ranks_of(std::span<const Point> points) {
  std::vector<int> ranks(points.size(), 0);
  // least[k]: the smallest loss in front k so far, that of its latest point; ascending in k. In the
  // order of the sweep, front k dominates a new point exactly if least[k] <= its loss.
  std::vector<double> least;
  const Point* previous = nullptr;
  int rank = 0;
  for (const std::size_t i : sorted_finite(points)) {
    const Point& p = points[i];
    const bool repeats =
        previous != nullptr && previous->cost == p.cost && previous->loss == p.loss;
    if (!repeats) {
      const auto k = std::ranges::upper_bound(least, p.loss) - least.begin();
      rank = static_cast<int>(k);
      if (static_cast<std::size_t>(k) == least.size()) {
        least.push_back(p.loss);
      } else {
        least[static_cast<std::size_t>(k)] = p.loss;
      }
    }
    ranks[i] = rank;
    previous = &p;
  }
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!is_finite(points[i])) ranks[i] = static_cast<int>(least.size());
  }
  return ranks;
}

std::vector<double> crowding_of(std::span<const Point> front) {
  std::vector<double> distance(front.size(), 0.0);
  const std::vector<std::size_t> by_cost = sorted_finite(front);
  if (by_cost.empty()) return distance;
  const auto add = [&](const std::vector<std::size_t>& order, double Point::*coordinate) {
    const double low = front[order.front()].*coordinate;
    const double high = front[order.back()].*coordinate;
    for (std::size_t i = 1; i + 1 < order.size() && low < high; ++i) {
      const double gap = front[order[i + 1]].*coordinate - front[order[i - 1]].*coordinate;
      distance[order[i]] += gap / (high - low);
    }
  };
  add(by_cost, &Point::cost);
  // Stable from descending cost: along a front losses rise as costs fall, so both orders have the
  // same two ends, repeated points included.
  std::vector<std::size_t> by_loss(by_cost.rbegin(), by_cost.rend());
  std::ranges::stable_sort(by_loss, {}, [&](std::size_t i) { return front[i].loss; });
  add(by_loss, &Point::loss);
  for (const std::size_t end : {by_cost.front(), by_cost.back(), by_loss.front(), by_loss.back()}) {
    distance[end] = std::numeric_limits<double>::infinity();
  }
  return distance;
}

}  // namespace mnm
