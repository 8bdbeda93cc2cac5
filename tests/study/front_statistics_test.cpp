#include "study/front_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/db/stores.h"

namespace mnm {
namespace {

constexpr std::int64_t kExamples = 64;

// A store of one model, searched on one dataset and confirmed on another.
class FrontStatistics : public testing::Test {
 protected:
  FrontStatistics() : store_(Store::open(dir_.path() / "s.db", Store::Mode::kWrite)) {
    model_ = store_.model(test::model_row());
    for (const std::string part : {"search", "confirm"}) {
      RunRow row = test::run_row(model_, store_.data(test::data_row(part, kExamples)));
      row.part = part;
      runs_[part == "confirm"] = store_.begin_run(row);
    }
  }

  // What all submodels share of an example is large; what they do not is `noise`.
  Record add(const Widths& widths, std::int64_t params, double loss, double noise,
             bool confirm = false) {
    std::mt19937 shared(confirm), own(static_cast<unsigned>(params) + 7u * confirm);
    std::normal_distribution<double> common, single;  // each keeps a second number
    std::vector<float> values;
    for (std::int64_t i = 0; i < kExamples; ++i) {
      values.push_back(static_cast<float>(loss + common(shared) + noise * single(own)));
    }
    Score score = test::score(widths, 0, params);
    const Estimate mean = mean_of(values);
    score.samples = kExamples;
    score.metrics[Metric::kLoss] = Measured{mean.value, mean.standard_error};
    score.per_example[Metric::kLoss] = values;
    return store_.add(runs_[confirm], std::vector<Score>{score}).front();
  }

  test::TempDir dir_;
  Store store_;
  std::int64_t model_ = 0;
  std::int64_t runs_[2] = {};
};

// Losses differ by 0.1 where each has a standard error of an eighth: paired they are far apart.
TEST_F(FrontStatistics, NeighboursThatDifferAndThatDoNot) {
  const std::vector<Record> front = {add({64, 64}, 100, 3.0, 0.01), add({64, 65}, 200, 2.9, 0.01),
                                     add({65, 64}, 300, 2.9, 0.01), add({128, 64}, 400, 2.5, 0.01)};
  const std::vector<double> p = neighbour_p(store_, front, Metric::kLoss);
  ASSERT_EQ(p.size(), 4u);
  EXPECT_TRUE(std::isnan(p[0]));
  EXPECT_LT(p[1], 1e-6);
  EXPECT_GT(p[2], kAlpha);
  EXPECT_LT(p[3], 1e-6);
  EXPECT_EQ(distinct_members(store_, front, Metric::kLoss), (std::vector<std::size_t>{0, 1, 3}));
}

TEST_F(FrontStatistics, ValuesThatAreNotKeptProveNothing) {
  Score score = test::score({64, 64}, 3, 100);
  score.per_example = {};
  Score other = test::score({128, 64}, 2, 200);
  other.per_example = {};
  const std::vector<Record> front = store_.add(runs_[0], std::vector<Score>{score, other});
  EXPECT_TRUE(std::isnan(neighbour_p(store_, front, Metric::kLoss)[1]));
  EXPECT_EQ(distinct_members(store_, front, Metric::kLoss), (std::vector<std::size_t>{0}));
  const auto best = best_within(store_, front, "64,128", Metric::kLoss, CostKind::kParams);
  ASSERT_TRUE(best && best->runner_up);
  EXPECT_FALSE(best->runner_up->probability);
}

TEST_F(FrontStatistics, TheBestItsRunnerUpAndTheBestUniformOne) {
  const Record narrow = add({64, 64}, 100, 3.0, 0.01);
  const Record wide = add({128, 128}, 400, 2.8, 0.01);
  const Record second = add({128, 64}, 300, 2.5, 0.01);
  const Record best = add({64, 128}, 200, 2.4, 0.01);
  const Record all[] = {narrow, best, second, wide};
  const auto found = best_within(store_, all, "64,128", Metric::kLoss, CostKind::kParams);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->best.id, best.id);
  ASSERT_TRUE(found->runner_up && found->best_uniform);
  EXPECT_EQ(found->runner_up->other.id, second.id);
  EXPECT_EQ(found->best_uniform->other.id, wide.id);
  EXPECT_GT(found->runner_up->probability.value(), 0.999);
  EXPECT_LT(compared(store_, wide, best, Metric::kLoss).probability.value(), 0.001);
  EXPECT_FALSE(best_within(store_, {}, "64,128", Metric::kLoss, CostKind::kParams));
  // The best is itself uniform: there is none to compare it with.
  EXPECT_FALSE(best_within(store_, std::span(all, 1), "64,128", Metric::kLoss, CostKind::kParams)
                   ->best_uniform);
}

// The confirm part is easier by 0.5 for all; the winner gains 0.2 less there than it promised.
TEST_F(FrontStatistics, TheBiasOfTheLeadIsFreeOfTheTexts) {
  const Record uniform = add({64, 64}, 100, 3.0, 0.001);
  const Record best = add({128, 64}, 200, 2.4, 0.001);
  EXPECT_FALSE(winners_bias(store_, best, uniform, Metric::kLoss));  // nothing is confirmed yet
  add({64, 64}, 100, 2.5, 0.001, true);
  add({128, 64}, 200, 2.1, 0.001, true);
  const auto bias = winners_bias(store_, best, uniform, Metric::kLoss);
  ASSERT_TRUE(bias && bias->of_lead);
  // Noise of 0.001 in each of four means of 64.
  EXPECT_NEAR(bias->of_lead->value, -0.2, 6 * 0.002 / std::sqrt(64.0));
  EXPECT_LT(bias->of_lead->standard_error, bias->difference.standard_error / 10);
  ASSERT_TRUE(bias->confirmed_lead);
  EXPECT_EQ(bias->confirmed_lead->other.widths, uniform.widths);
  EXPECT_NEAR(bias->confirmed_lead->difference->value, -0.4, 6 * 0.001 / std::sqrt(64.0) * 2);
  EXPECT_GT(bias->confirmed_lead->probability.value(), 0.999);
}

// Another protocol's confirm part, which comes first in the store, has no say.
TEST_F(FrontStatistics, TheBiasIsOfTheConfirmPartOfTheSameSearch) {
  const auto begin = [&](const std::string& name, const std::string& part, std::int64_t session) {
    RunRow row = test::run_row(model_, store_.data(test::data_row(name, kExamples)));
    row.part = part;
    row.session = session;
    return store_.begin_run(row);
  };
  const std::int64_t first = runs_[0];
  add({64, 64}, 100, 3.0, 0.001);
  const std::int64_t search = begin("search, another protocol", "search", 0);
  runs_[0] = search;
  const Record best = add({64, 64}, 100, 2.0, 0.001);
  add({64, 64}, 100, 2.9, 0.001, true);  // of the first protocol
  runs_[1] = begin("another confirm", "confirm", first);
  add({64, 64}, 100, 2.8, 0.001, true);
  EXPECT_FALSE(winners_bias(store_, best, std::nullopt, Metric::kLoss));
  runs_[1] = begin("confirm, another protocol", "confirm", search);
  const Record confirmed = add({64, 64}, 100, 2.1, 0.001, true);
  const auto bias = winners_bias(store_, best, std::nullopt, Metric::kLoss);
  ASSERT_TRUE(bias);
  EXPECT_EQ(bias->confirmed.id, confirmed.id);
}

TEST(UniformGranularity, IsOneOfTheTrainedWidths) {
  EXPECT_TRUE(is_uniform_granularity({64, 64}, "64,128"));
  EXPECT_FALSE(is_uniform_granularity({64, 128}, "64,128"));
  EXPECT_FALSE(is_uniform_granularity({12, 12}, "64,128"));
}

}  // namespace
}  // namespace mnm
