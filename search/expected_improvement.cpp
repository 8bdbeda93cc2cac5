#include "search/expected_improvement.h"

#include <algorithm>

#include "search/portable_math.h"

namespace mnm {
namespace {

constexpr double kFar = 9;  // deviations beyond which nothing is expected

}  // namespace

Point box_corner(std::span<const Point> points) {
  const std::vector<std::size_t> front = front_of(points);  // by ascending cost, descending loss
  const Point& cheapest = points[front.front()];
  const double most = std::ranges::max_element(points, {}, &Point::cost)->cost;
  const double steps = std::max(1.0, static_cast<double>(front.size()) - 1);
  const auto step = [&](double range) { return range > 0 ? range / steps : 1; };
  return {most + step(points[front.back()].cost - cheapest.cost),
          cheapest.loss + step(cheapest.loss - points[front.back()].loss)};
}

ExpectedImprovement::ExpectedImprovement(std::span<const Point> points, const Point& reference)
    : reference_(reference) {
  for (const std::size_t i : front_of(points)) {
    if (points[i].cost < reference.cost && points[i].loss < reference.loss) {
      steps_.push_back(points[i]);
    }
  }
}

double ExpectedImprovement::loss_at(double cost) const {
  const auto next = std::ranges::upper_bound(steps_, cost, {}, &Point::cost);
  return next == steps_.begin() ? reference_.loss : std::prev(next)->loss;
}

double ExpectedImprovement::expected_gain(double cost, double mean, double deviation) const {
  auto next = std::ranges::upper_bound(steps_, cost, {}, &Point::cost);
  double from = cost, gain = 0;
  double level = next == steps_.begin() ? reference_.loss : std::prev(next)->loss;
  while (from < reference_.cost && level > mean - kFar * deviation) {
    const double to = next == steps_.end() ? reference_.cost : next->cost;
    gain += (to - from) * expected_shortfall(level, mean, deviation);
    if (next == steps_.end()) break;
    from = to;
    level = next->loss;
    ++next;
  }
  return gain;
}

void ExpectedImprovement::add(const Point& point) {
  if (!(point.cost < reference_.cost && point.loss < loss_at(point.cost))) return;
  const auto at = std::ranges::lower_bound(steps_, point.cost, {}, &Point::cost);
  auto end = at;
  while (end != steps_.end() && end->loss >= point.loss) ++end;
  steps_.insert(steps_.erase(at, end), point);
}

}  // namespace mnm
