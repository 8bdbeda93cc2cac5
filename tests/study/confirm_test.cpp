#include "study/confirm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>

#include "study/store_rows.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
#include "tests/support/scripted_timer.h"

namespace mnm {
namespace {

// A finished search of a model with two layers of widths 2 and 4, by latency. It predicted 3 ms for
// 2,2; 4 ms for 4,2; 5 ms for 4,4. The budget is 4.5 ms.
class ConfirmByLatency : public testing::Test {
 protected:
  ConfirmByLatency()
      : opened_{nullptr, Checkpoint::assemble("model", nlohmann::json::object(), {}, nullptr),
                test::prefix_model(2, 8, {2, 4})},
        scorer_(opened_, DeviceOptions{}, ScoreOptions{{Metric::kLoss}}),
        store_(Store::open(dir_ / "s.db", Store::Mode::kWrite)) {
    const std::int64_t model = store_.model(test::model_row());
    const std::int64_t id = store_.begin_run(test::run_row(model, store_.data(test::data_row())));
    store_.add(id, std::vector{test::score({2, 2}, 3.0, 100), test::score({4, 2}, 2.0, 200),
                               test::score({4, 4}, 1.0, 300)});
    runs_ = {*store_.run(id)};
    row_ = test::latency_row(model, 21);
    row_.measured.workload.length = 64;  // as many positions as the model has
    row_.id = store_.add_latency(row_);
  }

  // The front, if 4,2 takes so many milliseconds, and the others what was predicted. `off`: how far
  // each time is from the median.
  ConfirmedFront front(double milliseconds, double off, bool timed = true) {
    const auto make = [&](const Workload&) {
      return std::make_unique<test::ScriptedTimer>([=, this](const Widths& widths, int n) {
        const double whole = widths == Widths{4, 2} ? 1e-3 * milliseconds
                                                    : LatencyTable(row_.measured.parts).of(widths);
        return test::around(whole, 1e-3 * off, n);
      });
    };
    return front_by(make, timed);
  }

  ConfirmedFront front_by(const MakeTimer& make, bool timed = true) {
    const LatencyTable table(row_.measured.parts);
    ConfirmRequest request{opened_, store_, scorer_, runs_};
    request.cost = CostKind::kLatency;
    request.budgets = {{CostKind::kLatency, 4'500'000}};
    request.latency = &table;
    if (timed) request.counted_with = &row_;
    request.make_timer = make;
    return confirm_front(request);
  }

  test::TempDir dir_;
  OpenedModel opened_;
  Scorer scorer_;
  Store store_;
  std::vector<RunRow> runs_;
  LatencyRow row_;
};

Widths widths_of(const ConfirmedFront& front, const std::optional<std::size_t>& member) {
  return member ? front.members[*member].widths : Widths{};
}

TEST_F(ConfirmByLatency, WithoutATimerPredictionsStand) {
  const ConfirmedFront found = front(9, 0, /*timed=*/false);
  EXPECT_EQ(widths_of(found, found.best), (Widths{4, 2}));
  for (const ConfirmedMember& member : found.members) EXPECT_FALSE(member.timed);
  EXPECT_TRUE(store_.whole_latencies(row_.id).empty());
}

TEST_F(ConfirmByLatency, EveryMemberIsTimedAndKept) {
  const ConfirmedFront found = front(4.1, 0.05);
  ASSERT_EQ(found.members.size(), 3u);  // 4,4 is the next larger uniform one
  const double expected[] = {3e-3, 4.1e-3, 5e-3}, predicted[] = {3e-3, 4e-3, 5e-3};
  for (std::size_t i = 0; i < 3; ++i) {
    const ConfirmedMember& member = found.members[i];
    ASSERT_TRUE(member.timed);
    EXPECT_EQ(member.timed->measured.widths, member.widths);
    EXPECT_NEAR(member.timed->measured.seconds.median, expected[i], 0.051e-3);
    EXPECT_NEAR(member.timed->measured.seconds.spread, 0.1e-3, 1e-9);
    EXPECT_NEAR(member.timed->measured.predicted, predicted[i], 1e-12);
    EXPECT_EQ(member.timed->run, runs_.front().id);
  }
  EXPECT_EQ(widths_of(found, found.best), (Widths{4, 2}));
  EXPECT_EQ(store_.whole_latencies(row_.id).size(), 3u);
}

template <typename Thrown>
MakeTimer failing(const Thrown& error) {
  return [error](const Workload&) -> std::unique_ptr<PassTimer> { throw error; };
}

TEST_F(ConfirmByLatency, AFailureOfTheTimerKeepsTheFront) {
  const ConfirmedFront failed = front_by(failing(Error("the pass failed")));
  EXPECT_EQ(failed.why_not_timed, "the pass failed");
  EXPECT_FALSE(failed.stopped);
  const ConfirmedFront stopped = front_by(failing(Stopped()));
  EXPECT_EQ(stopped.why_not_timed, "it was stopped");
  EXPECT_TRUE(stopped.stopped);
  for (const ConfirmedFront& each : {failed, stopped}) {
    EXPECT_EQ(widths_of(each, each.best), (Widths{4, 2}));
    for (const ConfirmedMember& member : each.members) EXPECT_FALSE(member.timed);
  }
  EXPECT_TRUE(store_.whole_latencies(row_.id).empty());
  EXPECT_THROW(front_by(failing(DeviceLost("gone"))), DeviceLost);
  EXPECT_THROW(front_by(failing(UsageError("no"))), UsageError);
}

TEST_F(ConfirmByLatency, PassesThatAStoreExaggeratesAreNotTimed) {
  row_.measured.workload.batch = std::numeric_limits<std::int32_t>::max();
  const ConfirmedFront found = front_by(failing(std::logic_error("a timer is made")));
  EXPECT_TRUE(test::contains(found.why_not_timed, "is of 2147483647 sequences"))
      << found.why_not_timed;
  EXPECT_FALSE(found.stopped);
  EXPECT_EQ(widths_of(found, found.best), (Widths{4, 2}));
  for (const ConfirmedMember& member : found.members) EXPECT_FALSE(member.timed);
}

// The confirm part, of which all scores are known.
class KnownPart final : public Examples {
 public:
  KnownPart() {
    name = fingerprint = "confirm";
    count = 4;
    context = 8;
  }
  std::string_view kind() const override { return "tokens"; }
  InputSpec input() const override { return {}; }
  std::int64_t outputs() const override { return 8; }
  void read_inputs(std::int64_t, std::int64_t, std::span<std::byte>) const override {}
  void read_targets(std::int64_t, std::int64_t, std::span<std::int64_t>) const override {}
  std::int64_t shared_with(const Examples&) const override { return 0; }
};

// Two searches with halving expect members, each on its own front. The store's front has 2,2 with
// 3 nats, 4,2 with 2 and 4,4 with 1; they cost 100, 200 and 300.
TEST_F(ConfirmByLatency, WhatIsExpectedMustBeOnTheFrontOfAllSearches) {
  const auto expected = [&](std::vector<ExpectedMember> members, const Examples* data) {
    ConfirmRequest request{opened_, store_, scorer_, runs_};
    request.expected = members;
    request.data = data;
    std::vector<Widths> found;
    for (const ConfirmedMember& member : confirm_front(request).members) {
      if (member.expected) found.push_back(member.widths);
    }
    return found;
  };
  const auto member = [&](Widths widths, double loss) {
    return ExpectedMember{widths, {200, loss}};
  };
  const KnownPart part;
  RunRow run = runs_.front();
  run.data = store_.data(data_row(part));
  run.id = store_.begin_run(run);
  store_.add(run.id, std::vector{test::score({2, 2}, 3, 100), test::score({2, 4}, 2, 200),
                                 test::score({4, 2}, 2, 200), test::score({4, 4}, 1, 300)});
  using All = std::vector<Widths>;
  EXPECT_EQ(expected({member({2, 4}, 1.9)}, &part), (All{{2, 4}}));
  EXPECT_EQ(expected({member({2, 4}, 3.1)}, &part), All{}) << "2,2 is smaller and better";
  EXPECT_EQ(expected({member({2, 4}, 1.9), member({2, 4}, 1.8)}, &part), (All{{2, 4}})) << "once";
  EXPECT_EQ(expected({member({4, 2}, 1.5)}, &part), All{}) << "it has a score";
  EXPECT_EQ(expected({member({2, 4}, 1.9)}, nullptr), All{}) << "nothing is confirmed";
}

TEST_F(ConfirmByLatency, OneThatIsMeasuredAboveTheBudgetIsNotTheBest) {
  const ConfirmedFront slow = front(4.8, 0.05);
  const auto member = std::ranges::find(slow.members, Widths{4, 2}, &ConfirmedMember::widths);
  ASSERT_NE(member, slow.members.end());
  EXPECT_TRUE(member->too_slow);
  EXPECT_TRUE(member->within_budget) << "as predicted";
  EXPECT_TRUE(member->on_front);
  EXPECT_EQ(widths_of(slow, slow.best), (Widths{2, 2}));
  EXPECT_EQ(widths_of(slow, slow.best_uniform), (Widths{2, 2}));

  // Above by less than the error: an odd number of times, so the median is 0.4 ms below or above.
  const ConfirmedFront unsure = front(4.2, 0.4);
  EXPECT_EQ(widths_of(unsure, unsure.best), (Widths{4, 2}));
}

}  // namespace
}  // namespace mnm
