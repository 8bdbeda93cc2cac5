#include "study/halving.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "eval/standard_error.h"
#include "study/search_loop.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

constexpr std::int64_t kExamples = 64;
constexpr std::uint64_t kEvaluations = 120;

double cost_of(const Widths& widths) {
  double sum = 0;
  for (const Width width : widths) sum += width;
  return sum;
}

SearchProblem problem() {
  LayerChoices choices;
  choices.granularities = {1, 2, 4, 8};
  SearchProblem problem;
  problem.space.layers.assign(5, choices);
  problem.cost = cost_of;
  return problem;
}

// The loss of a submodel on one example. Examples differ a hundred times as much as submodels do,
// and move all submodels together; a small part is each submodel's and example's own.
float loss_on(const Widths& widths, std::int64_t example) {
  double loss = 0;
  std::uint64_t hash = 17;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    loss += 1.0 / (widths[layer] * (1.0 + 0.3 * static_cast<double>(layer)));
    hash = hash * 31 + static_cast<std::uint64_t>(widths[layer]);
  }
  Random shared(static_cast<std::uint64_t>(example) + 1);
  Random own(hash * 1000 + static_cast<std::uint64_t>(example));
  return static_cast<float>(loss + 100 * shared.uniform() + 0.02 * (own.uniform() - 0.5));
}

Score score_on(const Widths& widths, const std::vector<std::int64_t>& examples) {
  Score score;
  score.widths = widths;
  score.cost.params = static_cast<std::int64_t>(cost_of(widths));
  for (const std::int64_t example : examples) {
    score.per_example[Metric::kLoss].push_back(loss_on(widths, example));
  }
  score.samples = static_cast<std::int64_t>(examples.size());
  const Estimate of = mean_of(score.per_example[Metric::kLoss]);
  score.metrics[Metric::kLoss] = Measured{of.value, of.standard_error};
  return score;
}

std::vector<std::int64_t> all_examples() { return halving_rounds(kExamples).back(); }

TEST(Halving, RoundsAreNestedAndSpread) {
  for (const std::int64_t examples : {16, 17, 63, 64, 1000}) {
    const auto rounds = halving_rounds(examples);
    ASSERT_EQ(rounds.size(), 3u);
    for (std::size_t r = 0; r + 1 < rounds.size(); ++r) {
      EXPECT_TRUE(std::ranges::includes(rounds[r + 1], rounds[r]));
    }
    EXPECT_EQ(rounds[0].size(), static_cast<std::size_t>((examples + 7) / 8));
    EXPECT_EQ(rounds[1].size(), static_cast<std::size_t>((examples + 3) / 4));
    EXPECT_EQ(rounds[2].size(), static_cast<std::size_t>(examples));
    EXPECT_GE(rounds[0].back(), examples - 8);
  }
  EXPECT_THROW(halving_rounds(15), UsageError);
}

TEST(Halving, JoinedPartsAreTheWhole) {
  const auto rounds = halving_rounds(kExamples);
  const Widths widths = {1, 8, 4, 2, 2};
  const Score whole = score_on(widths, rounds[2]);
  std::vector<std::int64_t> rest;
  std::ranges::set_difference(rounds[2], rounds[1], std::back_inserter(rest));
  const Score joined_up =
      joined(score_on(widths, rounds[1]), rounds[1], score_on(widths, rest), rounds[2]);
  EXPECT_EQ(joined_up.per_example[Metric::kLoss], whole.per_example[Metric::kLoss]);
  EXPECT_EQ(joined_up.value(), whole.value());
  EXPECT_EQ(joined_up.samples, kExamples);
  const Score part = part_of(whole, rounds[0]);
  EXPECT_EQ(part.value(), score_on(widths, rounds[0]).value());
  EXPECT_EQ(part.samples, kExamples / 8);
}

// As a damaged store may have them.
TEST(Halving, AMetricThatLacksValuesOfExamplesHasNoPart) {
  const auto rounds = halving_rounds(kExamples);
  Score whole = score_on({1, 8, 4, 2, 2}, rounds[2]);
  whole.metrics[Metric::kKl] = Measured{1, 0};
  for (const std::size_t values : {0u, 1u, 3u}) {
    whole.per_example[Metric::kKl].assign(values, 1.0f);
    const Score part = part_of(whole, rounds[0]);
    EXPECT_TRUE(part[Metric::kLoss].has_value());
    EXPECT_FALSE(part[Metric::kKl].has_value()) << values;
  }
}

// Of many submodels, the estimate lies within its errors of the loss on all examples.
TEST(Halving, EstimatesTheLossOnAllExamplesFromAnAnchor) {
  const auto rounds = halving_rounds(kExamples);
  HalvingJudge judge(Metric::kLoss, cost_of);
  judge.add(score_on({4, 4, 4, 4, 4}, rounds[2]));
  judge.add(score_on({1, 1, 1, 1, 1}, rounds[2]));
  double squares = 0;
  int count = 0;
  for (const Width a : {1, 2, 4, 8}) {
    for (const Width b : {1, 2, 8}) {
      for (const Width c : {2, 8}) {
        const Widths widths = {a, 4, b, 4, c};
        const auto [point, error] = judge.of(score_on(widths, rounds[0]), rounds[0], {});
        const double off = point.loss - score_on(widths, rounds[2]).value();
        EXPECT_EQ(point.cost, cost_of(widths));
        EXPECT_LT(std::abs(off), 0.01);  // the part's own mean is off by 8
        squares += off * off / (error * error);
        ++count;
      }
    }
  }
  // Of t values with 7 degrees of freedom, whose variance is 1.4, that share two anchors.
  EXPECT_LT(squares / count, 4);
  EXPECT_GT(squares / count, 0.3);
}

TEST(Halving, KeepsWhatIsNotBeaten) {
  HalvingJudge judge(Metric::kLoss, cost_of);
  judge.add(score_on({2, 2, 2, 2, 2}, all_examples()));
  const double loss = score_on({2, 2, 2, 2, 2}, all_examples()).value();
  const std::vector<HalvingJudge::Standing> candidates = {
      {{10, loss + 0.1}, 0.04},  // beaten by 2.5 errors
      {{10, loss + 0.1}, 0.06},  // not quite
      {{12, loss - 0.2}, 0.01},
      {{8, loss + 1}, 0.01},  // nothing is as cheap
      {{9, std::numeric_limits<double>::quiet_NaN()}, 0},
  };
  std::vector<std::size_t> kept = judge.promising(candidates, 5);
  std::ranges::sort(kept);
  EXPECT_EQ(kept, (std::vector<std::size_t>{1, 2, 3}));
  EXPECT_EQ(judge.promising(candidates, 1).size(), 1u);
  EXPECT_TRUE(judge.promising(std::span(candidates).last(1), 1).empty());
}

// Nothing is as cheap, so it is on the front.
TEST(Halving, TheCheapestIsAsPromisingAsOthers) {
  const HalvingJudge judge(Metric::kLoss, cost_of);
  const std::vector<HalvingJudge::Standing> candidates = {
      {{8, 5}, 0.01}, {{16, 3}, 0.01}, {{32, 2}, 0.01}, {{64, 1.9}, 0.01}};
  std::vector<std::size_t> kept = judge.promising(candidates, 3);
  std::ranges::sort(kept);
  EXPECT_EQ(kept, (std::vector<std::size_t>{0, 1, 2}));
}

// A whole search in a store, halved or not.
class HalvedSearch : public ::testing::Test {
 protected:
  struct Killed {};

  RunRow begin(Store& store, const std::string& data, std::int64_t examples) {
    RunRow run;
    run.model = store.model({"m", "m", "llama", "{}", "1,2,4,8"});
    run.data = store.data({data, data, 4, examples});
    run.command = "search";
    run.strategy = "surrogate";
    run.settings = "{}";
    run.id = store.begin_run(run);
    return *store.run(run.id);
  }

  std::vector<RunRow> begin_all(Store& store) {
    std::vector<RunRow> runs;
    for (const char* data : {"eighth", "quarter", "all"}) {
      const auto round = halving_rounds(kExamples)[runs.size()];
      runs.push_back(begin(store, data, static_cast<std::int64_t>(round.size())));
    }
    return runs;
  }

  // Throws Killed after so many calls of the scorer.
  SearchOutcome go(Store& store, const std::vector<RunRow>& runs, bool halved,
                   int calls = 1 << 20) {
    const auto strategy = make_strategy("surrogate", problem(), {.max_evaluations = kEvaluations});
    return go(*strategy, store, runs, halved, calls);
  }

  // What a search that is done expects.
  std::vector<ExpectedMember> replay(Strategy& strategy, Store& store,
                                     const std::vector<RunRow>& runs) {
    return go(strategy, store, runs, true, 0, true).expected;
  }

  SearchOutcome go(Strategy& strategy, Store& store, const std::vector<RunRow>& runs, bool halved,
                   int calls = 1 << 20, bool replay = false) {
    const auto rounds = halving_rounds(kExamples);
    Halving halving;
    for (std::size_t r = 0; r < rounds.size(); ++r) halving.rounds.push_back({rounds[r], runs[r]});
    const auto score = [&](std::span<const Widths> candidates, const auto& examples) {
      if (calls-- == 0) throw Killed{};
      std::vector<Score> scores;
      for (const Widths& widths : candidates) scores.push_back(score_on(widths, examples));
      return scores;
    };
    halving.score = [&](std::span<const Widths> candidates, std::size_t round) {
      std::vector<std::int64_t> added;
      std::ranges::set_difference(rounds[round],
                                  round == 0 ? std::vector<std::int64_t>{} : rounds[round - 1],
                                  std::back_inserter(added));
      return score(candidates, added);
    };
    SearchLoop loop{strategy, store, runs.back()};
    loop.cost = cost_of;
    loop.max_evaluations = evaluations_;
    loop.score = [&](std::span<const Widths> candidates, const SearchStatus&,
                     const SearchLoop::Keep&) { return score(candidates, rounds.back()); };
    loop.proceed = [](const SearchStatus&) { return true; };
    if (halved) loop.halving = &halving;
    loop.replay = replay;
    return run_search(loop);
  }

  Store open(const std::string& name) { return Store::open(dir_ / name, Store::Mode::kWrite); }

  // What the front of the records on all examples covers.
  static double area(const Store& store, const RunRow& run) {
    FrontQuery query;
    query.runs = {run.id};
    double sum = 0, before = score_on({1, 1, 1, 1, 1}, all_examples()).value();
    for (const Record& record : store.front(query)) {
      sum +=
          (40 - static_cast<double>(record.cost.params)) * std::max(0.0, before - record.value());
      before = record.value();
    }
    return sum;
  }

  std::uint64_t evaluations_ = kEvaluations;
  test::TempDir dir_;
};

TEST_F(HalvedSearch, FindsAsMuchForTwoFifthsOfTheExamples) {
  Store whole = open("whole.db"), halved = open("halved.db");
  const auto whole_runs = begin_all(whole), halved_runs = begin_all(halved);
  const SearchStatus all = go(whole, whole_runs, false).status;
  const SearchStatus some = go(halved, halved_runs, true).status;
  EXPECT_EQ(all.examples, kEvaluations * kExamples);
  EXPECT_EQ(some.evaluations, all.evaluations);
  EXPECT_LE(static_cast<double>(some.examples), kHalvedShare * static_cast<double>(all.examples));
  EXPECT_GT(area(halved, halved_runs[2]), 0.995 * area(whole, whole_runs[2]));
  // Each score is kept with the examples that it is of, and with no others.
  const auto rounds = halving_rounds(kExamples);
  std::size_t before = kEvaluations + 1;
  for (std::size_t r = 0; r < rounds.size(); ++r) {
    const std::vector<Record> records = halved.records_of(halved_runs[r].id);
    EXPECT_LT(records.size(), before);
    before = records.size();
    for (const Record& record : records) {
      EXPECT_EQ(record.data, halved_runs[r].data);
      EXPECT_EQ(halved.per_example(record.id, Metric::kLoss),
                score_on(record.widths, rounds[r]).per_example[Metric::kLoss]);
    }
  }
}

// Asks as random search does, and believes that what ended early is better than anything, the
// dearer the better: the last of it alone, or all.
class Believer final : public Strategy {
 public:
  explicit Believer(bool all = false)
      : all_(all), random_(make_strategy("random", problem(), {.max_evaluations = kEvaluations})) {}

  std::vector<Widths> ask(std::size_t n) override { return random_->ask(n); }
  void tell(const Widths& widths, const Point& result, double noise) override {
    if (noise > 0 && !all_) believed_.clear();
    if (noise > 0) believed_.push_back({widths, result.cost, -1e6 - result.cost, 0.01, true});
    random_->tell(widths, result, noise);
  }
  std::vector<Belief> believed_results() const override { return believed_; }
  bool finished() const override { return random_->finished(); }
  std::size_t preferred_batch() const override { return random_->preferred_batch(); }
  std::string description() const override { return random_->description(); }

 private:
  bool all_;
  std::unique_ptr<Strategy> random_;
  std::vector<Belief> believed_;
};

TEST_F(HalvedSearch, WhatTheStrategyBelievesIsScoredOnAllExamples) {
  Store store = open("believed.db");
  const auto runs = begin_all(store);
  Believer believer;
  go(believer, store, runs, true);
  const auto records = store.records_of(runs[2].id);
  EXPECT_EQ(std::ranges::count(records, believer.believed_results()[0].widths, &Record::widths), 1);
}

// A search of few submodels has tokens for one or two on all examples, and names none of them the
// best while another is expected to be better.
TEST_F(HalvedSearch, TheBestOfFewIsOneThatNoneIsExpectedToBeat) {
  for (const std::uint64_t evaluations : {1u, 2u, 6u, 10u, 16u}) {
    Store store = open(fmt::format("few{}.db", evaluations));
    const auto runs = begin_all(store);
    evaluations_ = evaluations;
    const auto strategy = make_strategy("surrogate", problem(), {.max_evaluations = evaluations});
    const SearchStatus status = go(*strategy, store, runs, true).status;
    ASSERT_TRUE(status.best) << evaluations;
    double best = status.best->value();
    for (const Record& record : store.records_of(runs[0].id)) {
      const double whole = score_on(record.widths, all_examples()).value();
      EXPECT_GE(whole, best - 0.02) << evaluations << ": " << to_string(record.widths);
    }
  }
}

TEST_F(HalvedSearch, WhatIsExpectedOnTheFrontIsNamedThoughNotScored) {
  Store store = open("expected.db");
  const auto runs = begin_all(store);
  Believer believer(/*all=*/true);
  const SearchOutcome outcome = go(believer, store, runs, true);
  const auto records = [&](std::size_t round, const Widths& widths) {
    return std::ranges::count(store.records_of(runs[round].id), widths, &Record::widths);
  };
  std::set<double> believed, scored, expected;
  for (const Belief& belief : believer.believed_results()) {
    (records(2, belief.widths) == 1 ? scored : believed).insert(belief.cost);
  }
  for (const auto& [widths, point] : outcome.expected) {
    EXPECT_EQ(records(0, widths), 1) << to_string(widths);
    EXPECT_EQ(records(2, widths), 0) << to_string(widths);
    EXPECT_EQ(point.cost, cost_of(widths));
    EXPECT_EQ(point.loss, -1e6 - point.cost) << "as the strategy believes";
    expected.insert(point.cost);
  }
  EXPECT_FALSE(expected.empty());
  EXPECT_FALSE(scored.empty());
  EXPECT_EQ(expected, believed);
  EXPECT_EQ(outcome.expected.size(), expected.size()) << "two of one cost are on a front";
  // A search that is done is replayed from the store, which is not written, and expects the same.
  for (const RunRow& run : runs) store.finish_run(run.id, "done");
  Believer again(/*all=*/true);
  std::vector<Widths> before, after;
  for (const auto& member : outcome.expected) before.push_back(member.widths);
  for (const auto& member : replay(again, store, runs)) after.push_back(member.widths);
  EXPECT_EQ(after, before);
  // One that asks for other submodels is told so, whether the store has them from another run or
  // from none.
  const auto other = make_strategy("surrogate", problem(), {.max_evaluations = kEvaluations});
  EXPECT_THROW(replay(*other, store, runs), ReplayDiffers);
  go(store, begin_all(store), true);
  const auto known = make_strategy("surrogate", problem(), {.max_evaluations = kEvaluations});
  EXPECT_THROW(replay(*known, store, runs), ReplayDiffers);
  // Without halving all is scored.
  Store whole = open("whole.db");
  EXPECT_TRUE(go(whole, begin_all(whole), false).expected.empty());
}

TEST(Halving, ExpectedOnTheFrontIsWhatNothingBeats) {
  HalvingJudge judge(Metric::kLoss, cost_of);
  judge.add(score_on({2, 2, 2, 2, 2}, all_examples()));
  const double known = score_on({2, 2, 2, 2, 2}, all_examples()).value();
  const HalvingJudge::Standing standings[] = {
      {{10, known - 0.1}, 1}, {{11, known - 0.05}, 1}, {{9, known + 1}, 1}, {{12, NAN}, 1}};
  EXPECT_EQ(judge.expected_on_front(standings), (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(judge.expected_on_front({}), std::vector<std::size_t>{});
}

TEST_F(HalvedSearch, KilledAndResumedGivesTheSameRecords) {
  Store whole = open("whole.db");
  const auto runs = begin_all(whole);
  const SearchStatus expected = go(whole, runs, true).status;
  std::uint64_t examples = 0;
  std::vector<RunRow> again;
  {
    Store store = open("killed.db");
    again = begin_all(store);
  }
  for (bool finished = false; !finished;) {
    Store store = open("killed.db");
    try {
      examples = go(store, again, true, 7).status.examples;
      finished = true;
    } catch (const Killed&) {
    }
  }
  EXPECT_LT(examples, expected.examples);
  const Store store = open("killed.db");
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::vector<Record> one = whole.records_of(runs[r].id);
    const std::vector<Record> other = store.records_of(again[r].id);
    ASSERT_EQ(one.size(), other.size());
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(one[i].widths, other[i].widths);
      EXPECT_EQ(one[i].value(), other[i].value());
    }
  }
}

// A search without halving finds nothing scored by one that was halved, but for what is of all
// examples.
TEST_F(HalvedSearch, PartsAreNoScoresOfTheWhole) {
  Store store = open("a.db");
  const auto runs = begin_all(store);
  go(store, runs, true);
  const std::size_t known = store.records_of(runs[2].id).size();
  const SearchStatus status = go(store, begin_all(store), false).status;
  EXPECT_LE(status.evaluations - status.scored, known);
}

}  // namespace
}  // namespace mnm
