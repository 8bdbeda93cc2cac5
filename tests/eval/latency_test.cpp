#include "eval/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/error.h"
#include "eval/scores.h"
#include "tests/support/scripted_timer.h"

namespace mnm {
namespace {

// A machine whose times are known: layer l takes (l + 1) * width, the rest 50, a submodel measured
// whole `overhead` more; every eleventh pass is disturbed.
class FakeTimer final : public PassTimer {
 public:
  double whole(const Widths& widths) override {
    double sum = overhead;
    for (const double part : parts(widths)) sum += part;
    ++wholes;
    return sum;
  }
  std::vector<double> parts(const Widths& widths) override {
    const double disturbance = ++passes % 11 == 0 ? 10 : 1;
    std::vector<double> parts;
    for (std::size_t l = 0; l < widths.size(); ++l) {
      seen[{l, widths[l]}] += 1;
      parts.push_back(widths[l] == kSkip ? of_skipped
                                         : static_cast<double>(l + 1) * widths[l] * disturbance);
    }
    parts.push_back(50 * disturbance);
    return parts;
  }
  double overhead = 0, of_skipped = 0;
  int passes = 0, wholes = 0;
  std::map<std::pair<std::size_t, Width>, int> seen;
};

WidthSpace space(bool may_skip = false) {
  WidthSpace space;
  space.layers.push_back({{2, 4, 8}, 0, may_skip, "no"});
  space.layers.push_back({{3, 5}, 0, false, "no"});
  space.layers.push_back({{7}, 0, false, "no"});
  return space;
}

Latency measured(FakeTimer& timer, const LatencySettings& settings, bool may_skip = false) {
  std::mt19937_64 random(settings.seed);
  return measure_latency(
      space(may_skip), settings, timer, [&](std::uint64_t n) { return random() % n; },
      [](const Progress& progress) {
        EXPECT_LT(progress.done, progress.total);
        return true;
      });
}

TEST(MeasureLatency, FindsWhatEachChoiceTakes) {
  FakeTimer timer;
  const Latency latency = measured(timer, {2, 21, 0, 1});
  EXPECT_EQ(latency.repeats, 21);
  std::map<std::pair<int, Width>, double> found;
  for (const LatencyPart& part : latency.parts) {
    found[{part.layer, part.width}] = part.seconds.median;
  }
  const std::map<std::pair<int, Width>, double> expected = {
      {{-1, 0}, 50}, {{0, 2}, 2},  {{0, 4}, 4}, {{0, 8}, 8},
      {{1, 3}, 6},   {{1, 5}, 10}, {{2, 7}, 21}};
  EXPECT_EQ(found, expected);
  // 2 to warm up, 21 of each choice of the layer that has most.
  EXPECT_EQ(timer.passes, 2 + 21 * 3);
  EXPECT_EQ((timer.seen[{0, 2}]), 21);
}

TEST(MeasureLatency, ChecksSayHowFarTheSumIsOff) {
  FakeTimer timer;
  const Latency exact = measured(timer, {0, 15, 5, 3});
  ASSERT_GE(exact.checks.size(), 2u);
  EXPECT_EQ(timer.wholes, 15 * static_cast<int>(exact.checks.size()));
  EXPECT_NEAR(exact.worst_error(), 0, 1e-12);
  FakeTimer slow;
  slow.overhead = 25;
  const Latency off = measured(slow, {0, 15, 5, 3});
  for (const LatencyCheck& check : off.checks) {
    EXPECT_NEAR(check.error(), check.predicted / (check.predicted + 25) - 1, 1e-12);
  }
  EXPECT_LT(off.mean_error(), 0);
}

TEST(MeasureLatency, ASkippedLayerTakesNoTimeWhateverTheClockSays) {
  FakeTimer timer;
  timer.of_skipped = 3;
  const Latency latency = measured(timer, {0, 15, 5, 3}, /*may_skip=*/true);
  EXPECT_EQ(timer.passes - timer.wholes, 15 * 4);
  for (const LatencyPart& part : latency.parts) {
    EXPECT_EQ(part.width == kSkip, part.layer == kFixedPart);
  }
  const LatencyTable table(latency.parts);
  EXPECT_TRUE(table.covers({kSkip, 3, 7}));
  EXPECT_NEAR(table.of({kSkip, 3, 7}), 6 + 21 + 50, 1e-12);
  EXPECT_NEAR(table.of({2, 3, 7}), 2 + 6 + 21 + 50, 1e-12);
  // Below the narrowest that was measured nothing is known, though skipping is.
  EXPECT_FALSE(table.covers({1, 3, 7}));
}

TEST(MeasureLatency, ASeedIsItsOrderAndChecks) {
  FakeTimer a, b;
  const Latency one = measured(a, {1, 3, 6, 9}), two = measured(b, {1, 3, 6, 9});
  ASSERT_EQ(one.checks.size(), two.checks.size());
  for (std::size_t i = 0; i < one.checks.size(); ++i) {
    EXPECT_EQ(one.checks[i].widths, two.checks[i].widths);
  }
}

TEST(TimeWholes, ByTurnsAndInRandomOrder) {
  const std::vector<Widths> submodels = {{2, 3}, {4, 3}, {8, 5}};
  test::ScriptedTimer timer([](const Widths& widths, int n) {
    return n % 7 == 3 ? 1000 : static_cast<double>(widths.front());  // now and then disturbed
  });
  std::mt19937_64 random(5);
  double last = -1;
  const std::vector<Timing> timings = time_wholes(
      submodels, {4, 21, 0, 1}, timer, [&](std::uint64_t n) { return random() % n; },
      [&](const Progress& progress) {
        EXPECT_EQ(progress.done, last + 1);
        last = progress.done;
        EXPECT_EQ(progress.total, 4 + 21 * 3);
        return true;
      });
  ASSERT_EQ(timings.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(timings[i].median, submodels[i].front());
  ASSERT_EQ(timer.timed.size(), 4u + 21 * 3);
  std::set<std::vector<Widths>> orders;
  for (std::size_t repeat = 0; repeat < 21; ++repeat) {
    const auto begin = timer.timed.begin() + static_cast<std::ptrdiff_t>(4 + 3 * repeat);
    std::vector<Widths> turn(begin, begin + 3);
    orders.insert(turn);
    std::ranges::sort(turn);
    EXPECT_EQ(turn, submodels) << repeat;
  }
  EXPECT_GT(orders.size(), 3u);
}

TEST(TimeWholes, EverySubmodelIsWarmedUp) {
  const std::vector<Widths> submodels = {{2}, {3}, {4}, {5}, {6}};
  test::ScriptedTimer timer([](const Widths&, int) { return 1.0; });
  time_wholes(submodels, {3, 1, 0, 1}, timer, [](std::uint64_t) { return std::uint64_t{0}; }, {});
  ASSERT_EQ(timer.timed.size(), 10u);
  EXPECT_EQ(std::vector<Widths>(timer.timed.begin(), timer.timed.begin() + 5), submodels);
}

TEST(TimeWholes, NothingAndTooFewRepeatsAndStopping) {
  test::ScriptedTimer timer([](const Widths&, int) { return 1.0; });
  const auto draw = [](std::uint64_t) { return std::uint64_t{0}; };
  EXPECT_TRUE(time_wholes({}, {}, timer, draw, {}).empty());
  EXPECT_TRUE(timer.timed.empty());
  const std::vector<Widths> one = {{2, 3}};
  EXPECT_THROW(time_wholes(one, {0, 0, 0, 1}, timer, draw, {}), UsageError);
  EXPECT_EQ(time_wholes(one, {0, 1, 0, 1}, timer, draw, {}).front().median, 1);
  EXPECT_THROW(time_wholes(one, {0, 9, 0, 1}, timer, draw,
                           [&](const Progress&) { return timer.timed.size() < 4; }),
               Stopped);
  EXPECT_EQ(timer.timed.size(), 4u);
}

TEST(MeasureLatency, StopsWhenAsked) {
  FakeTimer timer;
  std::int64_t asked = 0;
  EXPECT_THROW(measure_latency(
                   space(), {}, timer, [](std::uint64_t) { return std::uint64_t{0}; },
                   [&](const Progress&) { return ++asked < 5; }),
               Stopped);
  EXPECT_EQ(timer.passes, 4);
}

}  // namespace
}  // namespace mnm
