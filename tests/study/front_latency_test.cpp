#include "study/front_latency.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
#include "tests/support/scripted_timer.h"

namespace mnm {
namespace {

TEST(MeasureWholes, StoresWhatEachSubmodelTakesBesideWhatWasPredicted) {
  const test::TempDir directory;
  Store store = Store::open(directory / "s.db", Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t run = store.begin_run(test::run_row(model, store.data(test::data_row())));
  LatencyRow row = test::latency_row(model, 9);
  row.id = store.add_latency(row);
  const std::vector<Widths> submodels = {{2, 2}, {4, 2}, {kSkip, 4}};
  const auto make = [&](const Workload& workload) {
    EXPECT_EQ(workload.phase, Phase::kPrefill);
    EXPECT_EQ(workload.batch, 3);
    EXPECT_EQ(workload.length, 77);
    return std::make_unique<test::ScriptedTimer>(
        [](const Widths& widths, int) { return 1e-3 * (5 + static_cast<double>(widths.front())); });
  };
  const auto rows = measure_wholes(store, row, run, 1, submodels, make, {});
  ASSERT_EQ(rows.size(), 3u);
  const double predicted[] = {3e-3, 4e-3, 3e-3};
  const std::vector<WholeLatencyRow> stored = store.whole_latencies(row.id);
  ASSERT_EQ(stored.size(), 3u);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(rows[i].measured.predicted, predicted[i], 1e-12);
    EXPECT_NEAR(rows[i].measured.seconds.median, 1e-3 * (5 + submodels[i].front()), 1e-12);
    EXPECT_EQ(rows[i].repeats, 9);
    EXPECT_EQ(stored[i].measured.widths, submodels[i]);
    EXPECT_EQ(stored[i].measured.seconds.median, rows[i].measured.seconds.median);
    EXPECT_EQ(stored[i].run, run);
  }
  // Nothing is timed if there is nothing to time, or no prediction to hold it against.
  const MakeTimer never = [](const Workload&) -> std::unique_ptr<PassTimer> {
    throw std::logic_error("a timer is made");
  };
  EXPECT_TRUE(measure_wholes(store, row, run, 1, {}, never, {}).empty());
  const std::vector<Widths> outside = {{8, 2}};
  EXPECT_NE(test::error_of([&] { measure_wholes(store, row, run, 1, outside, never, {}); }), "");
  EXPECT_EQ(store.whole_latencies(row.id).size(), 3u);
}

TEST(IsTooSlow, OnlyWhatIsAboveTheBudgetByMoreThanItsError) {
  WholeLatencyRow row;
  row.repeats = 25;
  row.measured.seconds = {4.0e-3, 0.1e-3};
  const double error = standard_error(row);
  // Of normal times: the quartiles are 1.349 deviations apart.
  EXPECT_NEAR(error, std::sqrt(std::acos(-1.0) / 2) * 0.1e-3 / 1.349 / 5, 1e-8);
  const auto within = [&](double seconds) {
    return std::vector<Budget>{{CostKind::kParams, 1},
                               {CostKind::kLatency, std::llround(1e9 * seconds)}};
  };
  EXPECT_FALSE(is_too_slow(row, {}));
  EXPECT_FALSE(is_too_slow(row, within(5e-3)));
  EXPECT_FALSE(is_too_slow(row, within(4e-3)));
  EXPECT_FALSE(is_too_slow(row, within(4e-3 - 0.9 * error)));
  EXPECT_TRUE(is_too_slow(row, within(4e-3 - 1.1 * error)));
  const std::vector<Budget> other = {{CostKind::kParams, 1}};
  EXPECT_FALSE(is_too_slow(row, other));
  row.repeats = 2;
  EXPECT_TRUE(std::isnan(standard_error(row)));
  EXPECT_FALSE(is_too_slow(row, within(1e-3))) << "too few times to know";
}

TEST(TimedWholes, TheNewestTimeOfASubmodelStands) {
  const test::TempDir directory;
  Store store = Store::open(directory / "s.db", Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t run = store.begin_run(test::run_row(model, store.data(test::data_row())));
  const std::int64_t latency = store.add_latency(test::latency_row(model, 9));
  const std::int64_t other = store.add_latency(test::latency_row(model, 9));
  const auto add = [&](std::int64_t of, const Widths& widths, double milliseconds) {
    test::add_whole_latency(store, of, run, widths, milliseconds);
  };
  add(latency, {2, 2}, 5);
  add(latency, {4, 2}, 2);
  add(latency, {4, 4}, 7);
  add(other, {kSkip, 2}, 9);
  add(latency, {2, 2}, 1);
  add(latency, {4, 2}, 6);
  const std::vector<Budget> budgets = {{CostKind::kLatency, 3'000'000}};
  const TimedWholes timed = timed_wholes(store, latency, budgets);
  EXPECT_EQ(timed.too_slow, (std::vector<Widths>{{4, 2}, {4, 4}}));
  EXPECT_EQ(timed.fast_enough, (std::vector<Widths>{{2, 2}}));
  EXPECT_EQ(timed_wholes(store, other, budgets).too_slow, (std::vector<Widths>{{kSkip, 2}}));
  EXPECT_TRUE(timed_wholes(store, other, budgets).fast_enough.empty());
  EXPECT_TRUE(timed_wholes(store, latency, {}).too_slow.empty());
  EXPECT_EQ(timed_wholes(store, latency, {}).fast_enough.size(), 3u);
}

TEST(WhyNotRepeatable, WhatTheModelHasNotOrTakesTooLong) {
  const auto why = [](Phase phase, std::int64_t batch, std::int64_t length, std::int64_t repeats,
                      const NestedModel& model) {
    LatencyRow row = test::latency_row(1, repeats);
    row.id = 7;
    row.measured.workload = {phase, batch, length};
    return why_not_repeatable(row, model);
  };
  // What a store has at most, and a model of 64 positions.
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const NestedModel text = test::prefix_model(2, 8, {2, 4});
  NestedModel endless = text, image = text;
  endless.max_context = kAnyContext;
  image.input.type = InputType::kPixels;
  EXPECT_EQ(why(Phase::kPrefill, 1, 64, 21, text), "");
  EXPECT_EQ(why(Phase::kDecode, 1, 63, 21, text), "");
  EXPECT_EQ(why(Phase::kDecode, 1, 64, 21, text),
            "latency 7 is of 1 sequences of 65 positions, and the model has 64");
  EXPECT_EQ(why(Phase::kPrefill, kMostTimedPositions / 64, 64, kMostTimedRepeats, text), "");
  EXPECT_EQ(why(Phase::kPrefill, kMostTimedPositions / 64 + 1, 64, 21, text),
            "latency 7 is of 16385 sequences of 64 positions, and at most 1048576 positions in all "
            "are timed again");
  EXPECT_EQ(why(Phase::kPrefill, 1, 64, kMostTimedRepeats + 1, text),
            "latency 7 is of 10001 repeats, and at most 10000 are made again");
  EXPECT_EQ(why(Phase::kPrefill, 1, kMostTimedPositions, 21, endless), "");
  for (const auto& [batch, length] : {std::pair{kMost, kMost}, {kMost, 1}, {1, kMost - 1}}) {
    EXPECT_TRUE(test::contains(why(Phase::kPrefill, batch, length, 21, endless), "at most 1048576"))
        << batch << " of " << length;
  }
  EXPECT_EQ(why(Phase::kPrefill, 2, 64, 21, image), "");
  for (const auto& [phase, length] : {std::pair{Phase::kDecode, 63}, {Phase::kPrefill, 63}}) {
    EXPECT_TRUE(test::contains(why(phase, 2, length, 21, image), "computes the 64 of an example"));
  }
}

TEST(WhyNotComparable, NamesBothDevices) {
  const LatencyRow row = test::latency_row(1, 3);
  EXPECT_EQ(why_not_comparable(row, "cpu, 2 threads", Dtype::kF32), "");
  for (const auto& [device, dtype] :
       {std::pair{"cuda, a GPU", Dtype::kF32}, {"cpu, 2 threads", Dtype::kBF16}}) {
    const std::string why = why_not_comparable(row, device, dtype);
    EXPECT_TRUE(test::contains(why, "cpu, 2 threads in f32")) << why;
    EXPECT_TRUE(test::contains(why, device)) << why;
    EXPECT_TRUE(test::contains(why, to_string(dtype))) << why;
  }
}

}  // namespace
}  // namespace mnm
