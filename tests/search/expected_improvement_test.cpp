#include "search/expected_improvement.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "search/hypervolume.h"
#include "tests/search/synthetic.h"

namespace mnm {
namespace {

using test::spread;

constexpr Point kReference = {100, 50};

std::vector<Point> random_points(Random& random, std::size_t count) {
  std::vector<Point> points;
  for (std::size_t i = 0; i < count; ++i) {
    points.push_back(
        {static_cast<double>(random.below(110)), static_cast<double>(random.below(55))});
  }
  return points;
}

// Of members on a line, each has the same area of its own, the two ends too; and what is dominated
// does not count, however bad it is.
TEST(BoxCorner, ValuesTheEndsOfAFrontAsItsOtherMembers) {
  std::vector<Point> points;
  for (int i = 0; i <= 10; ++i) points.push_back({2.0 * i, 100.0 - i});
  const double all = hypervolume(points, box_corner(points));
  for (std::size_t i = 0; i < points.size(); ++i) {
    std::vector<Point> others = points;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_NEAR(all - hypervolume(others, box_corner(points)), 2, 1e-9) << i;
  }
  const Point corner = box_corner(points);
  points.push_back({10, 1e30});
  EXPECT_EQ(box_corner(points).loss, corner.loss);
  points.push_back({1000, 95});  // dear and dominated: the box reaches further, by the same step
  EXPECT_EQ(box_corner(points).loss, corner.loss);
  EXPECT_EQ(box_corner(points).cost, 1000 + 2);
  // Where nothing differs, the box has an area nevertheless.
  const Point one[] = {{5, 3}, {5, 3}};
  EXPECT_GT(hypervolume(one, box_corner(one)), 0);
}

// Of a certain loss, the gain is the difference of two hypervolumes.
TEST(ExpectedGain, IsTheGainOfHypervolumeWhereTheLossIsCertain) {
  Random random(1);
  for (int round = 0; round < 500; ++round) {
    std::vector<Point> points = random_points(random, random.below(12));
    ExpectedImprovement stairs(points, kReference);
    for (int more = 0; more < 5; ++more) {
      const Point next = random_points(random, 1)[0];
      const double before = hypervolume(points, kReference);
      points.push_back(next);
      EXPECT_NEAR(stairs.expected_gain(next.cost, next.loss, 0),
                  hypervolume(points, kReference) - before, 1e-9);
      stairs.add(next);
    }
  }
}

// Of an uncertain one, their mean over its quantiles: the midpoints of equal shares of a uniform
// variable would need the normal's inverse, so it is integrated over its density instead.
TEST(ExpectedGain, IsTheMeanOverTheLoss) {
  Random random(2);
  for (int round = 0; round < 50; ++round) {
    const std::vector<Point> points = random_points(random, 8);
    const ExpectedImprovement stairs(points, kReference);
    const double cost = static_cast<double>(random.below(100));
    const double mean = static_cast<double>(random.below(50)), deviation = 1 + 5 * random.uniform();
    double sum = 0, weights = 0;
    for (double z = -8; z <= 8; z += 1.0 / 64) {
      const double weight = std::exp(-0.5 * z * z);
      sum += weight * stairs.expected_gain(cost, mean + z * deviation, 0);
      weights += weight;
    }
    // The trapezoid rule's error at a kink: slope times step squared / 8 times density, per step of
    // the front.
    const double step = deviation / 64;
    const double tolerance = 9 * kReference.cost * step * step / 8;
    EXPECT_NEAR(stairs.expected_gain(cost, mean, deviation), sum / weights, tolerance);
  }
}

TEST(ExpectedGain, LossAtIsTheLeastAtNoMoreThanACost) {
  const std::vector<Point> points = {{10, 30}, {20, 40}, {30, 10}, {120, 1}};
  const ExpectedImprovement stairs(points, kReference);
  EXPECT_EQ(stairs.loss_at(9), 50);
  EXPECT_EQ(stairs.loss_at(10), 30);
  EXPECT_EQ(stairs.loss_at(29), 30);
  EXPECT_EQ(stairs.loss_at(1000), 10);
  EXPECT_EQ(stairs.expected_gain(100, 0, 1), 0);
}

}  // namespace
}  // namespace mnm
