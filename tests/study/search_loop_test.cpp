#include "study/search_loop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

WidthSpace space() {
  WidthSpace space;
  for (int layer = 0; layer < 5; ++layer) {
    LayerChoices choices;
    choices.granularities = {1, 2, 4, 8};
    space.layers.push_back(choices);
  }
  return space;
}

double cost_of(const Widths& widths) {
  double sum = 0;
  for (const Width width : widths) sum += width;
  return sum;
}

Score fake_score(const Widths& widths) {
  Score score;
  score.widths = widths;
  score.cost.params = static_cast<std::int64_t>(cost_of(widths));
  double loss = 0;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    loss += 1.0 / (widths[layer] * (1.0 + 0.3 * static_cast<double>(layer)));
  }
  const bool fails = widths.front() == 2 && widths.back() == 2;
  if (fails) loss = std::numeric_limits<double>::quiet_NaN();
  score.samples = 2;
  score.metrics[Metric::kLoss] = Measured{loss, 0.1};
  score.per_example[Metric::kLoss] = {static_cast<float>(loss - 0.1),
                                      static_cast<float>(loss + 0.1)};
  score.metrics[Metric::kAccuracy] = Measured{-loss, 0.1};  // the same objective
  return score;
}

struct Killed {};

// A store, and searches in it that may be cut short.
class SearchLoopTest : public ::testing::TestWithParam<std::string> {
 protected:
  // A model of many results takes its time.
  static std::uint64_t most() { return GetParam() == "surrogate" ? 60 : 150; }

  Store open(const std::string& name) { return Store::open(dir_ / name, Store::Mode::kWrite); }

  std::int64_t begin(Store& store) {
    RunRow run;
    run.model = store.model({"m", "m", "llama", "{}", "1,2,4,8"});
    run.data = store.data({"d", "d", 4, 2});
    run.command = "search";
    run.strategy = GetParam();
    run.settings = "{}";
    run.started = "2026-01-01T00:00:00Z";
    return store.begin_run(run);
  }

  // Goes on with the run. Stops after `batches` batches; throws Killed in the middle of scoring the
  // batch after that where `kill`.
  SearchOutcome go(Store& store, std::int64_t run, std::size_t batch,
                   std::size_t batches = std::numeric_limits<std::size_t>::max(), bool kill = false,
                   Metric metric = Metric::kLoss) {
    SearchProblem problem;
    problem.space = space();
    problem.cost = cost_of;
    problem.limits = {{"params", 30, cost_of}};
    StrategySettings settings;
    settings.max_evaluations = most();
    settings.population = 16;
    const auto strategy = make_strategy(GetParam(), problem, settings);
    std::size_t scored_batches = 0;
    const RunRow row = *store.run(run);
    SearchLoop loop{*strategy, store, row};
    loop.metric = metric;
    loop.max_evaluations = most();
    loop.batch = batch;
    loop.cost = cost_of;
    loop.score = [&](std::span<const Widths> candidates, const SearchStatus&,
                     const SearchLoop::Keep&) {
      if (kill && scored_batches == batches) throw Killed{};
      ++scored_batches;
      std::vector<Score> scores;
      for (const Widths& widths : candidates) scores.push_back(fake_score(widths));
      if (metric == Metric::kLoss) {
        for (Score& score : scores) score.metrics[Metric::kAccuracy].reset();
      }
      scored_ += scores.size();
      return scores;
    };
    loop.proceed = [&](const SearchStatus& status) {
      EXPECT_LE(status.evaluations, status.total);
      return kill || scored_batches < batches;
    };
    return run_search(loop);
  }

  static std::vector<std::string> trace(const Store& store, std::int64_t run) {
    std::vector<std::string> all;
    for (const Record& record : store.records_of(run)) {
      all.push_back(to_string(record.widths) + " " + std::string(record.status()) + " " +
                    (record.ok() ? std::to_string(record.value()) : ""));
    }
    return all;
  }

  test::TempDir dir_;
  std::size_t scored_ = 0;
};

TEST_P(SearchLoopTest, KeepsEveryEvaluationOfTheRun) {
  Store store = open("a.db");
  const std::int64_t run = begin(store);
  const SearchOutcome outcome = go(store, run, 64);
  EXPECT_TRUE(outcome.finished);
  EXPECT_LE(outcome.status.evaluations, most());
  EXPECT_EQ(outcome.status.scored, outcome.status.evaluations);
  EXPECT_EQ(store.records_of(run).size(), outcome.status.evaluations);
  FrontQuery query;
  const auto front = store.front(query);
  EXPECT_EQ(outcome.status.front, front.size());
  ASSERT_TRUE(outcome.status.best);
  EXPECT_EQ(outcome.status.best->widths, front.back().widths);
}

TEST_P(SearchLoopTest, StoppedOrKilledAndResumedGivesTheSameRecords) {
  Store whole = open("whole.db");
  const std::int64_t whole_run = begin(whole);
  const std::uint64_t evaluations = go(whole, whole_run, 10).status.evaluations;
  for (const bool kill : {false, true}) {
    const std::string name = kill ? "killed.db" : "stopped.db";
    std::int64_t run = 0;
    {
      Store store = open(name);
      run = begin(store);
    }
    scored_ = 0;
    bool finished = false;
    for (int round = 0; round < 100 && !finished; ++round) {
      Store store = open(name);
      try {
        finished = go(store, run, 10, 2, kill).finished;
      } catch (const Killed&) {
      }
    }
    EXPECT_TRUE(finished);
    EXPECT_EQ(scored_, evaluations) << "nothing is scored twice";
    EXPECT_EQ(trace(open(name), run), trace(whole, whole_run));
  }
}

TEST_P(SearchLoopTest, WhatAnotherRunScoredIsNotScoredAgain) {
  Store store = open("a.db");
  const std::int64_t first = begin(store);
  go(store, first, 64);
  scored_ = 0;
  const std::int64_t second = begin(store);
  const SearchOutcome outcome = go(store, second, 64);
  EXPECT_EQ(scored_, 0u);
  EXPECT_EQ(outcome.status.scored, 0u);
  EXPECT_EQ(trace(store, second), trace(store, first));
}

// Whatever a store knows, the search asks for the same: here every submodel was scored, in another
// order.
TEST_P(SearchLoopTest, WhatAnotherStrategyScoredChangesNothing) {
  Store fresh = open("fresh.db"), full = open("full.db");
  const std::int64_t expected = begin(fresh), other = begin(full);
  go(fresh, expected, 64);
  std::vector<Score> everything;
  Widths widths(5, 8);
  for (int i = 0; i < 1024; ++i) {
    for (int layer = 0; layer < 5; ++layer) {
      widths[static_cast<std::size_t>(layer)] = 8 >> (i >> 2 * layer & 3);
    }
    everything.push_back(fake_score(widths));
    everything.back().metrics[Metric::kAccuracy].reset();
  }
  full.add(other, everything);
  scored_ = 0;
  const std::int64_t run = begin(full);
  const SearchOutcome outcome = go(full, run, 64);
  EXPECT_EQ(scored_, 0u);
  EXPECT_EQ(outcome.status.evaluations, fresh.records_of(expected).size());
  EXPECT_EQ(trace(full, run), trace(fresh, expected));
}

// The larger accuracy wins, and here it goes with the smaller loss: the same search, whose records
// gain the metric that they lacked.
TEST_P(SearchLoopTest, AnotherMetricIsMeasuredWhereRecordsLackItAndFoundByIt) {
  Store store = open("a.db");
  const std::int64_t first = begin(store), second = begin(store);
  const SearchOutcome by_loss = go(store, first, 64);
  scored_ = 0;
  const auto all = std::numeric_limits<std::size_t>::max();
  const SearchOutcome outcome = go(store, second, 64, all, false, Metric::kAccuracy);
  EXPECT_EQ(scored_, outcome.status.evaluations);
  EXPECT_EQ(trace(store, second), trace(store, first));
  ASSERT_TRUE(outcome.status.best);
  EXPECT_EQ(outcome.status.best->widths, by_loss.status.best->widths);
  EXPECT_EQ(outcome.status.front, by_loss.status.front);
  FrontQuery query;
  query.metric = Metric::kAccuracy;
  EXPECT_EQ(store.front(query).size(), outcome.status.front);
  scored_ = 0;
  go(store, begin(store), 64, all, false, Metric::kAccuracy);
  EXPECT_EQ(scored_, 0u);
}

INSTANTIATE_TEST_SUITE_P(Strategies, SearchLoopTest,
                         ::testing::Values("uniform", "least-slope", "monotone", "grid", "random",
                                           "evolution", "surrogate", "sensitivity", "knapsack"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace mnm
