#include "cluster/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

TEST(TaskScheduler, GivesTheLargestTaskThatIsLeftToWhoeverIsIdle) {
  TaskScheduler scheduler({2, 9, 5, 9}, 2, 0);
  EXPECT_EQ(scheduler.next(0), 1u);  // of equal ones the first
  EXPECT_EQ(scheduler.next(0), std::nullopt) << "it is busy";
  EXPECT_EQ(scheduler.next(1), 3u);
  EXPECT_TRUE(scheduler.finish(1, 3, 1));
  EXPECT_EQ(scheduler.next(1), 2u);
  EXPECT_TRUE(scheduler.finish(0, 1, 2));
  EXPECT_EQ(scheduler.next(0), 0u);
  EXPECT_TRUE(scheduler.finish(0, 0, 3));
  EXPECT_EQ(scheduler.next(0), std::nullopt);
  EXPECT_FALSE(scheduler.finished());
  EXPECT_EQ(scheduler.flops_done(), 20);
  EXPECT_TRUE(scheduler.finish(1, 2, 4));
  EXPECT_TRUE(scheduler.finished());
  EXPECT_TRUE(TaskScheduler({}, 1, 0).finished());
}

TEST(TaskScheduler, WhatALostWorkerHadGoesToAnother) {
  TaskScheduler scheduler({7, 3}, 3, 0, {.silence = 10});
  EXPECT_EQ(scheduler.next(1), 0u);
  EXPECT_EQ(scheduler.next(2), 1u);
  scheduler.heard(0, 10);
  scheduler.heard(2, 10);
  EXPECT_TRUE(scheduler.lose_silent(10).empty()) << "just in time";
  EXPECT_EQ(scheduler.lose_silent(10.1), std::vector<int>{1});
  EXPECT_TRUE(scheduler.lose_silent(10.2).empty()) << "said once";
  EXPECT_EQ(scheduler.next(1), std::nullopt) << "it is lost";
  EXPECT_EQ(scheduler.next(0), 0u);
  EXPECT_TRUE(scheduler.finish(0, 0, 11));
  EXPECT_TRUE(scheduler.finish(2, 1, 12));
  EXPECT_TRUE(scheduler.finished());
}

TEST(TaskScheduler, AWorkerThatWasOnlySlowIsTakenBackAndItsResultCountsOnce) {
  TaskScheduler scheduler({7, 3, 1}, 2, 0, {.silence = 10});
  EXPECT_EQ(scheduler.next(1), 0u);
  scheduler.heard(0, 20);
  EXPECT_EQ(scheduler.lose_silent(20), std::vector<int>{1});
  EXPECT_EQ(scheduler.next(0), 0u);  // again
  scheduler.heard(1, 21);
  EXPECT_TRUE(scheduler.alive(1));
  EXPECT_EQ(scheduler.next(1), std::nullopt) << "it is at its task still";
  EXPECT_TRUE(scheduler.finish(1, 0, 22));
  EXPECT_EQ(scheduler.next(1), 1u);
  EXPECT_FALSE(scheduler.finish(0, 0, 23)) << "the second result of one task";
  EXPECT_EQ(scheduler.next(0), 2u);
  EXPECT_EQ(scheduler.flops_done(), 7);
}

TEST(TaskScheduler, ARetiredWorkerIsAliveAndIsGivenNothing) {
  TaskScheduler scheduler({7, 3}, 2, 0, {.silence = 10});
  EXPECT_EQ(scheduler.next(1), 0u);
  scheduler.retire(1);
  scheduler.heard(1, 1);
  EXPECT_FALSE(scheduler.alive(1));
  EXPECT_EQ(scheduler.next(1), std::nullopt);
  EXPECT_TRUE(scheduler.any_alive());
  EXPECT_EQ(scheduler.next(0), 0u) << "what it had";
  scheduler.retire(0);
  EXPECT_FALSE(scheduler.any_alive());
  EXPECT_FALSE(scheduler.finished());
}

TEST(TaskScheduler, ATaskThatCostsManyWorkersIsGivenUp) {
  TaskScheduler scheduler({1}, 4, 0, {.silence = 1, .attempts = 3});
  EXPECT_EQ(scheduler.next(1), 0u);
  scheduler.lose(1);
  EXPECT_EQ(scheduler.next(2), 0u);
  scheduler.lose(2);
  scheduler.lose(2);  // once
  EXPECT_EQ(scheduler.next(3), 0u);
  EXPECT_TRUE(test::contains(test::error_of([&] { scheduler.lose(3); }), "3 workers"));
}

// Workers die, retire, fall silent, come back and finish in any order: every task is done exactly
// once.
TEST(TaskScheduler, WhateverHappensEveryTaskCountsOnce) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const std::size_t tasks = 1 + random() % 20;
    const int workers = 1 + static_cast<int>(random() % 5);
    std::vector<double> flops(tasks);
    for (double& f : flops) f = static_cast<double>(1 + random() % 9);
    TaskScheduler scheduler(flops, workers, 0, {.silence = 5, .attempts = 1000});
    std::vector<std::optional<std::size_t>> at(static_cast<std::size_t>(workers));
    std::vector<bool> dead(static_cast<std::size_t>(workers), false);
    std::vector<int> counted(tasks, 0);
    double now = 0;
    for (int turn = 0; !scheduler.finished(); ++turn) {
      ASSERT_LT(turn, 100000) << seed;
      now += 0.5;
      for (int w = 0; w < workers; ++w) {
        const auto i = static_cast<std::size_t>(w);
        if (const auto next = scheduler.next(w)) at[i] = next;
        if (w > 0 && !dead[i] && random() % 200 == 0) {
          dead[i] = true;
          if (random() % 2 == 0) scheduler.retire(w);
        }
        const bool silent = w > 0 && (dead[i] || random() % 3 == 0);
        if (silent) continue;
        scheduler.heard(w, now);
        if (!at[i] || random() % 4 != 0) continue;
        if (scheduler.finish(w, *at[i], now)) ++counted[*at[i]];
        at[i].reset();
      }
      scheduler.lose_silent(now);
    }
    for (const int count : counted) EXPECT_EQ(count, 1) << seed;
    double total = 0;
    for (const double f : flops) total += f;
    EXPECT_EQ(scheduler.flops_done(), total);
  }
}

}  // namespace
}  // namespace mnm
