#include "model/latency.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

TEST(Latency, MedianAndQuartiles) {
  EXPECT_EQ(timing_of({3}).median, 3);
  EXPECT_EQ(timing_of({3}).spread, 0);
  EXPECT_EQ(timing_of({5, 1, 3}).median, 3);
  EXPECT_EQ(timing_of({5, 1, 3}).spread, 2);  // 4 - 2
  EXPECT_EQ(timing_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(timing_of({4, 1, 2, 3}).spread, 1.5);  // 3.25 - 1.75
  // One pass in which the machine did something else moves neither far.
  EXPECT_EQ(timing_of({1, 1, 1, 1, 1000}).median, 1);
}

TEST(Latency, ASubmodelTakesTheSumOfItsParts) {
  const LatencyTable table({{kFixedPart, 0, {100, 0}},
                            {1, 8, {30, 0}},
                            {0, 2, {1, 0}},
                            {0, 4, {2, 0}},
                            {0, 8, {4, 0}},
                            {1, 2, {10, 0}},
                            {1, 4, {20, 0}}});
  EXPECT_EQ(table.of({2, 2}), 111);
  EXPECT_EQ(table.of({8, 4}), 124);
  EXPECT_EQ(table.of({6, 4}), 123);  // on the line between 4 and 8
  EXPECT_EQ(table.of({2, 3}), 116);
}

TEST(Latency, NoiseNeverMakesWiderFaster) {
  const LatencyTable table({{kFixedPart, 0, {0, 0}},
                            {0, 1, {1, 0}},
                            {0, 2, {5, 0}},
                            {0, 3, {3, 0}},
                            {0, 4, {4, 0}},
                            {0, 5, {9, 0}}});
  EXPECT_EQ(table.of({1}), 1);
  for (const Width pooled : {2, 3, 4}) EXPECT_EQ(table.of({pooled}), 4);
  EXPECT_EQ(table.of({5}), 9);
}

TEST(Latency, ErrorsOfItsChecks) {
  Latency latency;
  EXPECT_EQ(latency.rms_error(), 0);
  latency.checks = {{{1}, 1.1, {1, 0}}, {{2}, 0.8, {1, 0}}, {{3}, 1, {1, 0}}};
  EXPECT_NEAR(latency.mean_error(), -0.1 / 3, 1e-15);
  EXPECT_NEAR(latency.rms_error(), std::sqrt(0.05 / 3), 1e-15);
  EXPECT_NEAR(latency.worst_error(), -0.2, 1e-15);
}

TEST(Latency, WhatIsMissingIsNamed) {
  std::vector<LatencyPart> parts = {
      {kFixedPart, 0, {1, 0}}, {0, 2, {1, 0}}, {0, 4, {1, 0}}, {1, 2, {1, 0}}, {1, 4, {1, 0}}};
  const auto error = [&](std::size_t leave_out) {
    std::vector<LatencyPart> some = parts;
    some.erase(some.begin() + static_cast<std::ptrdiff_t>(leave_out));
    return error_of([&] { LatencyTable{some}; });
  };
  EXPECT_TRUE(contains(error(0), "belongs to no layer"));
  const LatencyTable table(parts);
  EXPECT_EQ(table.of({2, 4}), 3);
  EXPECT_EQ(table.nanoseconds({2, 4}), 3'000'000'000);
  EXPECT_TRUE(contains(error_of([&] { table.of({2}); }), "2 layers"));
  EXPECT_TRUE(contains(error_of([&] { table.of({2, 5}); }), "from 2 to 4"));
  EXPECT_TRUE(contains(error_of([&] { table.of({1, 4}); }), "from 2 to 4"));
  std::vector<LatencyPart> gap = {{kFixedPart, 0, {1, 0}}, {1, 2, {1, 0}}};
  EXPECT_TRUE(contains(error_of([&] { LatencyTable{gap}; }), "lacks layer 0"));
  for (const double bad : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    parts[1].seconds.median = bad;
    EXPECT_TRUE(contains(error_of([&] { LatencyTable{parts}; }), "expected seconds"));
  }
}

}  // namespace
}  // namespace mnm
