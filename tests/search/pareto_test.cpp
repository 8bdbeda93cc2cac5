#include "search/pareto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "search/hypervolume.h"

namespace mnm {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

bool finite(const Point& p) { return std::isfinite(p.cost) && std::isfinite(p.loss); }

// Point sets full of what breaks sweeps: ties in one coordinate or both, failures of every kind.
std::vector<std::vector<Point>> point_sets() {
  std::vector<std::vector<Point>> sets = {
      {},
      {{1, 1}},
      {{1, kNan}},
      {{kNan, 1}, {1, kInf}, {1, -kInf}, {kInf, 0}, {-kInf, 0}},
      {{1, 1}, {1, 1}, {1, 1}},
      {{1, 2}, {1, 1}, {1, 3}},
      {{2, 1}, {1, 1}, {3, 1}},
      {{1, 3}, {2, 2}, {3, 1}},
      {{1, kNan}, {2, 2}, {1, kNan}},
  };
  Random random(5);
  for (int set = 0; set < 300; ++set) {
    std::vector<Point> points(random.below(40));
    const std::uint64_t values = 2 + random.below(12);  // few values: many ties
    for (Point& p : points) {
      p = {static_cast<double>(random.below(values)), static_cast<double>(random.below(values))};
      if (random.chance(0.1))
        p.loss = random.chance(0.5) ? kNan : random.chance(0.5) ? kInf : -kInf;
      if (random.chance(0.02)) p.cost = random.chance(0.5) ? kNan : kInf;
    }
    sets.push_back(points);
  }
  return sets;
}

TEST(Pareto, DominanceIsItsDefinition) {
  EXPECT_TRUE(dominates({1, 1}, {2, 2}));
  EXPECT_TRUE(dominates({1, 1}, {1, 2}));
  EXPECT_TRUE(dominates({1, 1}, {2, 1}));
  EXPECT_FALSE(dominates({1, 1}, {1, 1}));
  EXPECT_FALSE(dominates({1, 2}, {2, 1}));
  EXPECT_FALSE(dominates({2, 2}, {1, 1}));
  for (const Point failed : {Point{0, kNan}, Point{kNan, 0}, Point{0, -kInf}, Point{-kInf, 0}}) {
    EXPECT_TRUE(dominates({9, 9}, failed));
    EXPECT_FALSE(dominates(failed, {9, 9}));
    EXPECT_FALSE(dominates(failed, failed));
  }
}

TEST(Pareto, FrontAgreesWithAllPairs) {
  for (const std::vector<Point>& points : point_sets()) {
    std::vector<std::size_t> expected;
    for (std::size_t i = 0; i < points.size(); ++i) {
      bool on = finite(points[i]);
      for (std::size_t j = 0; j < points.size() && on; ++j) {
        const bool repeated =
            j < i && points[j].cost == points[i].cost && points[j].loss == points[i].loss;
        on = !dominates(points[j], points[i]) && !repeated;
      }
      if (on) expected.push_back(i);
    }
    std::ranges::sort(expected, {}, [&](std::size_t i) { return points[i].cost; });
    EXPECT_EQ(front_of(points), expected);
  }
}

// Peels: front k is what nothing outside the fronts before it dominates.
std::vector<int> peeled_ranks(const std::vector<Point>& points) {
  std::vector<int> ranks(points.size(), -1);
  std::size_t ranked = 0;
  for (int front = 0; ranked < points.size(); ++front) {
    std::vector<std::size_t> peel;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (ranks[i] >= 0) continue;
      bool on = true;
      for (std::size_t j = 0; j < points.size() && on; ++j) {
        on = ranks[j] >= 0 || !dominates(points[j], points[i]);
      }
      if (on) peel.push_back(i);
    }
    for (const std::size_t i : peel) ranks[i] = front;
    ranked += peel.size();
  }
  return ranks;
}

TEST(Pareto, RanksAgreeWithPeeling) {
  for (const std::vector<Point>& points : point_sets()) {
    EXPECT_EQ(ranks_of(points), peeled_ranks(points));
  }
}

// Section III-B word for word, for points whose coordinates are all different.
std::vector<double> slow_crowding(const std::vector<Point>& front) {
  std::vector<double> distance(front.size(), 0.0);
  for (double Point::*coordinate : {&Point::cost, &Point::loss}) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < front.size(); ++i) order.push_back(i);
    std::ranges::sort(order, {}, [&](std::size_t i) { return front[i].*coordinate; });
    const double range = front[order.back()].*coordinate - front[order.front()].*coordinate;
    distance[order.front()] = distance[order.back()] = kInf;
    for (std::size_t i = 1; i + 1 < order.size(); ++i) {
      distance[order[i]] +=
          (front[order[i + 1]].*coordinate - front[order[i - 1]].*coordinate) / range;
    }
  }
  return distance;
}

TEST(Pareto, CrowdingAgreesWithItsDefinition) {
  EXPECT_EQ(crowding_of(std::vector<Point>{{0, 10}, {1, 6}, {4, 5}, {10, 0}}),
            (std::vector<double>{kInf, 0.4 + 0.5, 0.9 + 0.6, kInf}));
  Random random(6);
  for (std::size_t size = 1; size < 30; ++size) {
    std::vector<Point> front;
    Point p{0, 100};
    for (std::size_t i = 0; i < size; ++i) {
      front.push_back(p);
      p.cost += 0.1 + random.uniform();
      p.loss -= 0.1 + random.uniform();
    }
    random.shuffle(front);
    const std::vector<double> got = crowding_of(front), expected = slow_crowding(front);
    for (std::size_t i = 0; i < size; ++i) EXPECT_DOUBLE_EQ(got[i], expected[i]);
  }
}

TEST(Pareto, CrowdingOfRepeatedAndFailedPoints) {
  EXPECT_TRUE(crowding_of({}).empty());
  EXPECT_EQ(crowding_of(std::vector<Point>{{1, 1}}), std::vector<double>{kInf});
  EXPECT_EQ(crowding_of(std::vector<Point>{{1, kNan}, {2, kNan}}), (std::vector<double>{0, 0}));
  // Copies of one point: two ends, nothing between, no division by a range of 0.
  EXPECT_EQ(crowding_of(std::vector<Point>(4, {1, 1})), (std::vector<double>{kInf, 0, 0, kInf}));
  // A copy of an end is not an end.
  EXPECT_EQ(crowding_of(std::vector<Point>{{0, 4}, {0, 4}, {2, 2}, {4, 0}}),
            (std::vector<double>{kInf, 0.5 + 0.5, 1.0 + 1.0, kInf}));
}

TEST(Pareto, HypervolumeAgreesWithCountingCells) {
  constexpr int kCells = 12;  // integer points: the area is a number of unit cells
  for (const std::vector<Point>& points : point_sets()) {
    for (const Point reference : {Point{kCells, kCells}, Point{4, 7}, Point{0, 0}}) {
      int cells = 0;
      for (int x = 0; x < static_cast<int>(reference.cost); ++x) {
        for (int y = 0; y < static_cast<int>(reference.loss); ++y) {
          cells += std::ranges::any_of(
              points, [&](const Point& p) { return finite(p) && p.cost <= x && p.loss <= y; });
        }
      }
      EXPECT_EQ(hypervolume(points, reference), cells);
    }
  }
}

// 200,000 points on one front: quadratic code would not come back.
TEST(Pareto, LargeSetsAreQuick) {
  constexpr std::size_t kSize = 200'000;
  std::vector<Point> points(kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    const std::size_t j = i * 7919 % kSize;
    points[i] = {static_cast<double>(j), static_cast<double>(kSize - j)};
  }
  EXPECT_EQ(front_of(points).size(), kSize);
  EXPECT_EQ(std::ranges::count(ranks_of(points), 0), static_cast<std::ptrdiff_t>(kSize));
  EXPECT_EQ(std::ranges::count(crowding_of(points), kInf), 2);
  const double n = static_cast<double>(kSize);
  EXPECT_EQ(hypervolume(points, {n, n + 1}), n * (n + 1) / 2);
  std::ranges::for_each(points, [](Point& p) { p.loss = p.cost; });  // a chain: as many fronts
  EXPECT_EQ(std::ranges::max(ranks_of(points)), static_cast<int>(kSize) - 1);
}

}  // namespace
}  // namespace mnm
