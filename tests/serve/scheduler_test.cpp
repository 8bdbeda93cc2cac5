#include "serve/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/serve/fake_sequences.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::FakeSequences;
using Tokens = std::vector<std::int64_t>;

const Widths kNarrow = {1, 1}, kWide = {4, 4};
constexpr std::int64_t kVocabulary = 100;

Tokens counting(std::int64_t from, std::size_t count) {
  Tokens tokens(count);
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

Job job(Tokens prompt, std::int64_t max_tokens, std::optional<Widths> widths = kWide) {
  Job out;
  out.prompt = std::move(prompt);
  out.max_tokens = max_tokens;
  out.widths = std::move(widths);
  out.flops = 4;
  out.sampling.temperature = 0;
  return out;
}

// A scheduler over the fake, and what it said of each job.
struct Bench {
  explicit Bench(SchedulerLimits limits = {}) : scheduler(fake, completed(limits)) {}

  static SchedulerLimits completed(SchedulerLimits limits) {
    limits.vocabulary = kVocabulary;
    if (limits.context == 0) limits.context = 1000;
    if (limits.positions == 0) limits.positions = 10000;
    return limits;
  }

  void step(const Widths& elastic = kNarrow, std::int64_t prompt_rows = 512) {
    scheduler.admit(elastic);
    last = scheduler.plan(elastic, 1, prompt_rows);
    for (JobEvent& event : scheduler.run(last)) {
      if (event.token && !event.is_end) said[event.job].push_back(event.token->id);
      prompt_tokens[event.job] += event.prompt_tokens;
      cached[event.job] += event.cached_tokens;
      if (event.finish) finish[event.job] = *event.finish;
      if (!event.failure.empty()) failures[event.job] = event.failure;
      events.push_back(std::move(event));
    }
  }
  void run(std::int64_t prompt_rows = 512) {
    for (int i = 0; i < 10000 && !scheduler.idle(); ++i) step(kNarrow, prompt_rows);
    ASSERT_TRUE(scheduler.idle());
  }

  FakeSequences fake{kVocabulary};
  Scheduler scheduler;
  StepPlan last;
  std::map<JobId, Tokens> said;
  std::map<JobId, std::int64_t> prompt_tokens, cached;
  std::map<JobId, FinishReason> finish;
  std::map<JobId, std::string> failures;
  std::vector<JobEvent> events;
};

TEST(Scheduler, GeneratesUntilTheLimit) {
  Bench bench;
  bench.scheduler.add(1, job({5, 6}, 3));
  bench.run();
  EXPECT_EQ(bench.said[1], (Tokens{7, 8, 9}));
  EXPECT_EQ(bench.finish[1], FinishReason::kLength);
  EXPECT_EQ(bench.prompt_tokens[1], 2);
  EXPECT_EQ(bench.fake.fed, 4);  // the last token is told and not fed
}

TEST(Scheduler, EndsAtATokenThatEndsAText) {
  Bench bench;
  Job one = job({5}, 100);
  one.ends = {8};
  bench.scheduler.add(1, one);
  bench.run();
  EXPECT_EQ(bench.said[1], (Tokens{6, 7}));
  EXPECT_EQ(bench.finish[1], FinishReason::kStop);
}

TEST(Scheduler, EndsWhereTheContextIsFull) {
  Bench bench({.context = 8});
  bench.scheduler.add(1, job(counting(0, 5), 100));
  bench.run();
  EXPECT_EQ(bench.said[1], (Tokens{5, 6, 7, 8}));  // 3 are fed, and one more is only said
  EXPECT_EQ(bench.finish[1], FinishReason::kLength);
}

TEST(Scheduler, JobsOfAllWidthsShareSteps) {
  Bench bench;
  bench.scheduler.add(1, job({10}, 5));
  bench.scheduler.add(2, job({20}, 5, kNarrow));
  bench.scheduler.add(3, job({30}, 5, std::nullopt));
  bench.run();
  EXPECT_EQ(bench.fake.steps.size(), 5u);
  for (const auto& widths : bench.fake.steps) {
    EXPECT_EQ(widths, (std::vector<Widths>{kWide, kNarrow, kNarrow}));
  }
  for (const JobId id : {1, 2, 3}) {
    EXPECT_EQ(bench.said[id], counting(static_cast<std::int64_t>(10 * id) + 1, 5)) << id;
  }
}

TEST(Scheduler, ElasticJobsRunAtTheWidthsOfTheStep) {
  Bench bench;
  bench.scheduler.add(1, job({10}, 3, std::nullopt));
  bench.step(kNarrow);
  bench.step(kWide);
  bench.step(kNarrow);
  ASSERT_TRUE(bench.scheduler.idle());
  std::vector<std::string> widths;
  for (const JobEvent& event : bench.events) widths.push_back(event.widths);
  EXPECT_EQ(widths, (std::vector<std::string>{"1x2", "4x2", "1x2"}));
}

TEST(Scheduler, LoadsAreWhatStepsCompute) {
  Bench bench;
  bench.scheduler.add(1, job({10}, 3));
  bench.scheduler.add(2, job({20, 21, 22}, 3, std::nullopt));
  bench.scheduler.admit(kNarrow);
  EXPECT_EQ(bench.scheduler.fixed_load().rows, 1);
  EXPECT_EQ(bench.scheduler.fixed_load().flops, 4);
  EXPECT_EQ(bench.scheduler.elastic_rows(), 1);
  const StepPlan plan = bench.scheduler.plan(kNarrow, 1, 512);
  EXPECT_EQ(plan.load.rows, 4);
  EXPECT_EQ(plan.load.flops, 4 + 3);
}

TEST(Scheduler, ProposalsAreRowsOfTheLoad) {
  Bench bench;
  Job one = job(counting(0, 20), 1);
  one.draft = std::vector<Proposal>{{18, {{18, 1}}}, {19, {{19, 1}}}};
  bench.scheduler.add(1, one);
  bench.step(kNarrow, 17);  // all but the proposals and the token before them
  EXPECT_EQ(bench.scheduler.fixed_load().rows, 3);
  EXPECT_EQ(bench.scheduler.fixed_load().flops, 3 * 4);
  EXPECT_EQ(bench.scheduler.plan(kNarrow, 1, 512).load.rows, 3);
}

TEST(Scheduler, APromptWaitsForNoToken) {
  Bench bench;
  bench.scheduler.add(1, job(counting(0, 20), 9));
  bench.scheduler.add(2, job(counting(50, 20), 9, std::nullopt));
  bench.step(kNarrow, 5);
  EXPECT_EQ(bench.scheduler.token_load(2).rows, 0);
  bench.step();
  EXPECT_EQ(bench.scheduler.token_load(2).rows, 2);
  EXPECT_EQ(bench.scheduler.token_load(2).flops, 4 + 2);
}

TEST(Scheduler, ThePromptThatIsWidestSaysWhatItsTokensCost) {
  Bench bench;
  EXPECT_EQ(bench.scheduler.prompt_flops(1), 1);
  bench.scheduler.add(1, job(counting(0, 20), 2, std::nullopt));
  bench.scheduler.admit(kNarrow);
  EXPECT_EQ(bench.scheduler.prompt_flops(1), 1);
  bench.scheduler.add(2, job(counting(50, 20), 2));
  bench.scheduler.admit(kNarrow);
  EXPECT_EQ(bench.scheduler.prompt_flops(1), 4);
  bench.step();  // both prompts are done
  EXPECT_EQ(bench.scheduler.prompt_flops(1), 1);
}

TEST(Scheduler, LongPromptsDoNotHoldOthersUp) {
  Bench bench;
  bench.scheduler.add(1, job({10}, 50));
  bench.step();
  bench.scheduler.add(2, job(counting(0, 60), 2));
  for (int i = 0; i < 5; ++i) {
    bench.step(kNarrow, 10);
    EXPECT_EQ(bench.last.load.rows, 11);
    EXPECT_EQ(bench.said[1].size(), static_cast<std::size_t>(i + 2));
  }
  EXPECT_EQ(bench.said.count(2), 0u);
  bench.step(kNarrow, 10);
  EXPECT_EQ(bench.said[2], (Tokens{60}));
}

TEST(Scheduler, JobsWaitForRoom) {
  Bench bench({.running = 2});
  for (const JobId id : {1, 2, 3}) bench.scheduler.add(id, job({10}, 4));
  bench.step();
  EXPECT_EQ(bench.scheduler.running(), 2);
  EXPECT_EQ(bench.scheduler.waiting(), 1);
  bench.run();
  EXPECT_EQ(bench.said[3].size(), 4u);
}

TEST(Scheduler, CachesHoldNoMoreThanTheyMay) {
  Bench bench({.positions = 40});
  for (const JobId id : {1, 2, 3, 4, 5}) {
    bench.scheduler.add(id, job(counting(static_cast<std::int64_t>(id), 9), 6));  // 14 positions
  }
  while (!bench.scheduler.idle()) {
    bench.step();
    EXPECT_LE(bench.scheduler.positions(), 40);
    EXPECT_LE(bench.scheduler.running(), 2);
  }
  for (const JobId id : {1, 2, 3, 4, 5}) EXPECT_EQ(bench.said[id].size(), 6u);
}

// A state is as large after one token as after a thousand.
TEST(Scheduler, StatesCountWhateverTheirLength) {
  Bench bench({.positions = 1000, .state_positions = 100});
  bench.fake.tells_tokens_apart = false;
  for (JobId id = 1; id <= 30; ++id) {
    bench.scheduler.add(id, job(counting(static_cast<std::int64_t>(id), 18), 2));
  }
  while (!bench.scheduler.idle()) {
    bench.step();
    EXPECT_LE(bench.fake.open_sequences(), 10u);
  }
  // With a draft there is a state for each token that can be taken back, more than fit: such a job
  // runs alone.
  Job one = job(counting(40, 18), 1);
  one.draft = std::vector<Proposal>{{57, {{57, 1}}}};
  for (JobId id = 31; id <= 33; ++id) bench.scheduler.add(id, one);
  while (!bench.scheduler.idle()) {
    bench.step();
    EXPECT_EQ(bench.fake.open_sequences(), 1u);
  }
  EXPECT_EQ(bench.events.back().verified->accepted, 1);
  // A job without a draft reserves one state, and does not go on from one that has more.
  bench.scheduler.add(34, job(counting(40, 20), 1));
  bench.run();
  EXPECT_EQ(bench.cached[34], 0);
  EXPECT_LE(bench.scheduler.positions(), 1000);
}

TEST(Scheduler, WhatCanNeverRunIsRefused) {
  Bench bench({.context = 50, .positions = 30});
  EXPECT_TRUE(contains(error_of([&] { bench.scheduler.add(1, job({}, 3)); }), "empty"));
  EXPECT_TRUE(
      contains(error_of([&] { bench.scheduler.add(1, job({kVocabulary}, 3)); }), "vocabulary"));
  EXPECT_TRUE(
      contains(error_of([&] { bench.scheduler.add(1, job(counting(0, 51), 3)); }), "50 positions"));
  EXPECT_TRUE(contains(error_of([&] { bench.scheduler.add(1, job({1}, 31)); }), "hold 30"));
  EXPECT_TRUE(bench.scheduler.idle());
}

TEST(Scheduler, ASharedStartIsComputedOnce) {
  Bench bench;
  Tokens first = counting(0, 40), second = counting(0, 30);
  second.push_back(77);
  bench.scheduler.add(1, job(first, 2));
  bench.run();
  bench.fake.fed = 0;
  bench.scheduler.add(2, job(second, 2));
  bench.run();
  EXPECT_EQ(bench.cached[2], 30);
  EXPECT_EQ(bench.prompt_tokens[2], 31);
  EXPECT_EQ(bench.fake.fed, 2);
  EXPECT_EQ(bench.said[2], (Tokens{78, 79}));
}

TEST(Scheduler, EqualPromptsWaitForTheFirst) {
  Bench bench;
  for (const JobId id : {1, 2, 3, 4}) bench.scheduler.add(id, job(counting(0, 64), 2));
  bench.run(16);
  EXPECT_EQ(bench.fake.fed, 64 + 1 + 3 * (1 + 1));
  for (const JobId id : {1, 2, 3, 4}) EXPECT_EQ(bench.said[id], (Tokens{64, 65})) << id;
}

TEST(Scheduler, OtherWidthsComputedAnotherStart) {
  Bench bench;
  bench.scheduler.add(1, job(counting(0, 40), 2, kWide));
  bench.run();
  bench.scheduler.add(2, job(counting(0, 40), 2, kNarrow));
  bench.run();
  EXPECT_EQ(bench.cached[2], 0);
  // An elastic job whose prompt began narrow: only that start is of use to narrow ones.
  bench.scheduler.add(3, job(counting(50, 40), 2, std::nullopt));
  bench.step(kNarrow, 20);
  bench.step(kWide, 20);
  bench.run();
  bench.scheduler.add(4, job(counting(50, 40), 2, kNarrow));
  bench.run();
  EXPECT_EQ(bench.cached[4], 20);
}

TEST(Scheduler, AStateIsTakenOverWhole) {
  Bench bench;
  bench.fake.tells_tokens_apart = false;
  bench.scheduler.add(1, job(counting(0, 30), 1));
  bench.run();
  bench.scheduler.add(2, job(counting(0, 35), 1));  // goes on from all of it
  bench.run();
  EXPECT_EQ(bench.cached[2], 30);
  Tokens other = counting(0, 29);
  other.push_back(70);
  bench.scheduler.add(3, job(other, 1));  // would have to take a token back
  bench.run();
  EXPECT_EQ(bench.cached[3], 0);
}

TEST(Scheduler, SeedsDecideWhateverRunsBeside) {
  const auto drawn = [](int others) {
    Bench bench;
    Job one = job({10}, 20);
    one.sampling.temperature = 2;
    one.seed = 7;
    bench.scheduler.add(1, one);
    for (int i = 0; i < others; ++i) {
      one.seed = static_cast<std::uint64_t>(100 + i);
      bench.scheduler.add(static_cast<JobId>(2 + i), one);
    }
    bench.run();
    return bench.said[1];
  };
  const Tokens alone = drawn(0);
  EXPECT_EQ(drawn(5), alone);
  EXPECT_NE(alone, counting(11, 20));  // it was not greedy
}

TEST(Scheduler, RemovedJobsAreGone) {
  Bench bench({.running = 1});
  for (const JobId id : {1, 2, 3}) bench.scheduler.add(id, job({10}, 50));
  bench.step();
  bench.scheduler.remove(1);
  bench.scheduler.remove(2);   // waits
  bench.scheduler.remove(99);  // never was
  bench.run();
  EXPECT_EQ(bench.said[1].size(), 1u);
  EXPECT_EQ(bench.said.count(2), 0u);
  EXPECT_EQ(bench.said[3].size(), 50u);
}

TEST(Scheduler, LogitsThatAreNoNumbersEndTheirJobAlone) {
  Bench bench;
  bench.fake.nan_after = 13;
  bench.scheduler.add(1, job({10}, 9));
  bench.scheduler.add(2, job({20}, 20));
  bench.run();
  EXPECT_EQ(bench.said[1], (Tokens{11, 12, 13}));
  EXPECT_TRUE(contains(bench.failures[1], "no numbers"));
  EXPECT_EQ(bench.said[2].size(), 20u);
  EXPECT_EQ(bench.fake.open_sequences(), 1u);  // the cache of the job that failed is not kept
}

TEST(Scheduler, AStepThatFailsEndsItsJobs) {
  Bench bench;
  bench.scheduler.add(1, job({10}, 9));
  bench.step();
  bench.fake.fails = true;
  bench.step();
  EXPECT_TRUE(contains(bench.failures[1], "out of order"));
  EXPECT_TRUE(bench.scheduler.idle());
  bench.fake.fails = false;
  bench.scheduler.add(2, job({20}, 2));
  bench.run();
  EXPECT_EQ(bench.said[2].size(), 2u);
}

TEST(Scheduler, PromptsAreScored) {
  Bench bench;
  Job one = job({10, 11, 50}, 0);
  one.score_prompt = true;
  one.alternatives = 2;
  bench.scheduler.add(1, one);
  bench.run(2);  // in two parts
  std::vector<ScoredToken> scores;
  for (const JobEvent& event : bench.events) {
    scores.insert(scores.end(), event.prompt.begin(), event.prompt.end());
  }
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_TRUE(std::isnan(scores[0].logprob));  // nothing is known of the first
  const double log_sum = std::log(std::exp(2.0) + std::exp(1.0) + kVocabulary - 2);
  EXPECT_NEAR(scores[1].logprob, 2 - log_sum, 1e-12);
  EXPECT_NEAR(scores[2].logprob, 0 - log_sum, 1e-12);
  ASSERT_EQ(scores[2].alternatives.size(), 2u);
  EXPECT_EQ(scores[2].alternatives[0].first, 12);
  EXPECT_EQ(scores[2].alternatives[1].first, 13);
  EXPECT_EQ(bench.said.count(1), 0u);
  EXPECT_EQ(bench.finish[1], FinishReason::kLength);
}

// 64 MiB are the logits of 4 tokens of so large a vocabulary.
TEST(Scheduler, TheLogitsOfAStepAreBounded) {
  constexpr std::int64_t kLarge = (64 << 20) / 4 / 4;
  FakeSequences fake(kLarge);
  Scheduler scheduler(fake, {.context = 1000, .vocabulary = kLarge, .positions = 10000});
  const auto scored_rows = [&] {
    scheduler.admit(kNarrow);
    std::int64_t rows = 0;
    for (const StepPlan::Part& part : scheduler.plan(kNarrow, 1, 512).parts) {
      rows += part.every_position ? std::ssize(part.tokens) : 0;
    }
    return rows;
  };
  Job scored = job(counting(0, 15), 0), draft = job(counting(60, 3), 1);
  scored.score_prompt = true;
  draft.draft = std::vector<Proposal>{{61, {{61, 1}}}, {62, {{62, 1}}}};
  for (const JobId id : {1, 2, 3}) {
    scored.prompt[0] = static_cast<std::int64_t>(id);
    scheduler.add(id, scored);
  }
  EXPECT_EQ(scored_rows(), 4);
  for (const JobId id : {1, 2, 3}) scheduler.remove(id);
  for (const JobId id : {4, 5}) scheduler.add(id, draft);
  EXPECT_EQ(scored_rows(), 3);  // the other one is next
  scheduler.remove(4);
  EXPECT_EQ(scored_rows(), 3);
}

// The fake says the successor of a token.
TEST(Scheduler, ProposalsAreVerifiedInOneStep) {
  for (const bool tells_apart : {true, false}) {
    Bench bench;
    bench.fake.tells_tokens_apart = tells_apart;
    Job one = job(counting(0, 20), 1);
    one.draft = std::vector<Proposal>{{18, {{18, 1}}}, {19, {{19, 1}}}};  // after 0 to 17
    bench.scheduler.add(1, one);
    bench.run();
    ASSERT_TRUE(bench.events.back().verified);
    EXPECT_EQ(bench.events.back().verified->accepted, 2);
    EXPECT_EQ(bench.events.back().verified->token, 20);
    EXPECT_EQ(bench.fake.fed, 20);
    // The next request goes on from what is held: the token that was said, and a draft of which the
    // second is wrong.
    one.prompt = counting(0, 22);
    one.prompt.push_back(50);
    one.draft = std::vector<Proposal>{{21, {{21, 1}}}, {50, {{50, 1}}}};
    bench.fake.fed = 0;
    bench.scheduler.add(2, one);
    bench.run();
    EXPECT_EQ(bench.events.back().verified->accepted, 1);
    EXPECT_EQ(bench.events.back().verified->token, 22);
    EXPECT_EQ(bench.fake.fed, 3);  // 20, 21 and 50
    // What was rejected is held no more, and what is the start of a longer text not beside it.
    EXPECT_EQ(bench.scheduler.positions(), 22);
    one.prompt = counting(0, 23);
    one.draft = std::vector<Proposal>{};
    bench.fake.fed = 0;
    bench.scheduler.add(3, one);
    bench.run();
    EXPECT_EQ(bench.events.back().verified->accepted, 0);
    EXPECT_EQ(bench.events.back().verified->token, 23);
    EXPECT_EQ(bench.fake.fed, 1);
  }
}

// A state that was not opened to be taken back cannot verify.
TEST(Scheduler, ADraftDoesNotGoOnFromWhatCannotBeTakenBack) {
  Bench bench;
  bench.fake.tells_tokens_apart = false;
  bench.scheduler.add(1, job(counting(0, 30), 1));
  bench.run();
  Job one = job(counting(0, 33), 1);
  one.draft = std::vector<Proposal>{{31, {{31, 1}}}, {32, {{32, 1}}}};
  bench.fake.fed = 0;
  bench.scheduler.add(2, one);
  bench.run();
  EXPECT_EQ(bench.events.back().verified->accepted, 2);
  EXPECT_EQ(bench.fake.fed, 33);
}

TEST(Scheduler, ALongTextIsReadInPartsBeforeItsDraft) {
  Bench bench;
  Job one = job(counting(0, 40), 1);
  one.draft = std::vector<Proposal>{{38, {{38, 1}}}, {39, {{39, 1}}}};
  bench.scheduler.add(1, one);
  for (int parts = 0; parts < 4; ++parts) bench.step(kNarrow, 10);  // 37 tokens
  EXPECT_FALSE(bench.scheduler.idle());
  bench.step(kNarrow, 10);
  EXPECT_TRUE(bench.scheduler.idle());
  EXPECT_EQ(bench.events.back().verified->accepted, 2);
}

TEST(Scheduler, KeptCachesCountInBlocksAndShortOnesAreNotKept) {
  Bench bench({.positions = 1000});
  bench.fake.block = 64;
  bench.scheduler.add(1, job(counting(0, 20), 2));
  bench.run();
  EXPECT_EQ(bench.scheduler.positions(), 64);
  bench.scheduler.add(2, job(counting(30, 10), 2));
  bench.run();
  EXPECT_EQ(bench.scheduler.positions(), 64);
  EXPECT_EQ(bench.fake.open_sequences(), 1u);
}

TEST(Scheduler, LeavesNoSequenceBehind) {
  FakeSequences fake(kVocabulary);
  {
    Scheduler scheduler(fake, Bench::completed({}));
    scheduler.add(1, job(counting(10, 20), 2));
    scheduler.add(2, job(counting(10, 20), 20));
    for (int i = 0; i < 5; ++i) {
      scheduler.admit(kNarrow);
      scheduler.run(scheduler.plan(kNarrow, 1, 512));
    }
    EXPECT_EQ(fake.open_sequences(), 2u);  // one runs, one is kept
  }
  EXPECT_EQ(fake.open_sequences(), 0u);
}

}  // namespace
}  // namespace mnm
