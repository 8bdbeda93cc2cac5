#include "artifact/selection.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "families/family.h"
#include "heuristics/least_slope.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_gemma3n.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

// Three submodels of two layers of widths 2 and 4. The sums are 3 ms for 2,2; 4 ms for 2,4 and for
// 4,2. All are on the front over parameters, and the budget is 4.5 ms.
class BestByLatency : public testing::Test {
 protected:
  BestByLatency() : store_(Store::open(dir_ / "s.db", Store::Mode::kWrite)) {
    model_ = store_.model(test::model_row());
    run_ = test::run_row(model_, store_.data(test::data_row()));
    first_ = store_.begin_run(run_);
    store_.add(first_, std::vector{test::score({2, 2}, 3.0, 100), test::score({2, 4}, 2.5, 150),
                                   test::score({4, 2}, 2.0, 200)});
    const LatencyRow row = test::latency_row(model_, 9);
    latency_ = store_.add_latency(row);
    table_.emplace(row.measured.parts);
  }

  void time(const Widths& widths, double milliseconds) {
    test::add_whole_latency(store_, latency_, first_, widths, milliseconds);
  }

  Widths best() const {
    BestRequest request;
    request.budgets = {{CostKind::kLatency, 4'500'000}};
    request.latency = &*table_;
    request.counted_with = latency_;
    return best_record(store_, model_, request).widths;
  }

  test::TempDir dir_;
  Store store_;
  std::int64_t model_ = 0, first_ = 0, latency_ = 0;
  RunRow run_;
  std::optional<LatencyTable> table_;
};

TEST_F(BestByLatency, SumsStandUntilATimeRefutesOne) {
  EXPECT_EQ(best(), (Widths{4, 2}));
  time({2, 2}, 3);
  EXPECT_EQ(best(), (Widths{4, 2})) << "no time speaks against it";
}

TEST_F(BestByLatency, NextToOneThatIsTooSlowOnlyTimedOnesAreTrusted) {
  time({4, 2}, 5);
  EXPECT_EQ(best(), (Widths{2, 4})) << "nothing is known to be fast enough";
  time({2, 2}, 3);
  EXPECT_EQ(best(), (Widths{2, 2})) << "2,4 was never timed";
  time({2, 4}, 4);
  EXPECT_EQ(best(), (Widths{2, 4}));
}

TEST_F(BestByLatency, SlowOnesDoNotMoveTheChoiceToAnotherDtype) {
  run_.dtype = Dtype::kBF16;
  store_.add(store_.begin_run(run_), std::vector{test::score({kSkip, 4}, 1.0, 80)});
  EXPECT_EQ(best(), (Widths{4, 2}));
  for (const Widths& widths : {Widths{2, 2}, Widths{2, 4}, Widths{4, 2}}) time(widths, 5);
  EXPECT_TRUE(test::contains(test::error_of([&] { best(); }), "measured above"));
}

// Without the layers that may be skipped.
Widths shortened(const WidthSpace& space, Widths widths) {
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (space.layers[layer].may_skip) widths[layer] = kSkip;
  }
  return widths;
}

TEST(LeastSlopeWithin, LeavesLayersOutWhereNoneOfAllLayersFits) {
  for (const nlohmann::json& config : {test::TinyLlama{}.config(), test::tiny_gemma3n_text()}) {
    const NestedModel model = family_of(config).describe(config, {"", "1"});
    SCOPED_TRACE(model.family);
    const CostTable costs(model, CostBasis{});
    const auto params = [&](const Widths& widths) { return costs.of(widths).params; };
    const auto chosen = [&](std::int64_t limit) {
      const Budget budgets[] = {{CostKind::kParams, limit}};
      return least_slope_within(model, costs, budgets);
    };
    const Widths narrowest = least_slope_member(model.space, 0);
    EXPECT_EQ(chosen(params(narrowest)), narrowest);
    const Widths smallest = shortened(model.space, narrowest);
    EXPECT_EQ(chosen(params(narrowest) - 1).at(1), kSkip);
    std::size_t shorter = 0;
    for (std::size_t place = 0; place < least_slope_places(model.space); ++place) {
      const Widths widths = shortened(model.space, least_slope_member(model.space, place));
      if (params(widths) >= params(narrowest)) break;
      EXPECT_EQ(chosen(params(widths)), widths);
      ++shorter;
    }
    EXPECT_GT(shorter, 0u);
    const std::string none = test::usage_error_of([&] { chosen(params(smallest) - 1); });
    EXPECT_TRUE(test::contains(none, "no least-slope submodel is within the budget of")) << none;
    EXPECT_TRUE(test::contains(
        none, fmt::format("the smallest, {}, takes {}", to_string(smallest), params(smallest))))
        << none;
    const Widths single = shortened(model.space, Widths(model.layers(), 1));
    const std::string never = test::usage_error_of([&] { chosen(params(single) - 1); });
    EXPECT_TRUE(test::contains(never, "no submodel is within the budget of")) << never;
    EXPECT_TRUE(test::contains(
        never, fmt::format("the smallest, {}, takes {}", to_string(single), params(single))))
        << never;
  }
}

}  // namespace
}  // namespace mnm
