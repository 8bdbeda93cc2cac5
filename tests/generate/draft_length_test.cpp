#include "generate/draft_length.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace mnm {
namespace {

TEST(DraftLength, IsLeviathansFormula) {
  for (const double a : {0.0, 0.3, 0.8, 0.99}) {
    for (const std::int64_t k : {1, 2, 5, 15}) {
      const double tokens = (1 - std::pow(a, static_cast<double>(k + 1))) / (1 - a);
      EXPECT_NEAR(tokens_per_verification(a, k), tokens, 1e-12);
      EXPECT_NEAR(expected_speedup(a, k, 0.25), tokens / (static_cast<double>(k) * 0.25 + 1),
                  1e-12);
    }
  }
  EXPECT_EQ(tokens_per_verification(1, 4), 5);
}

TEST(DraftLength, AVerificationMayTakeLongerThanAPass) {
  EXPECT_NEAR(expected_speedup(0.5, 2, 0.25, 1.5), (1 + 0.5 + 0.25) / (2 * 0.25 + 1.5), 1e-12);
}

TEST(DraftLength, TheBestOneIsTheBestOfAll) {
  EXPECT_EQ(best_draft_length(0.2, 0.5, 8).tokens, 0);  // 1.2 / 1.5
  EXPECT_EQ(best_draft_length(1, 0.1, 8).tokens, 8);
  const DraftLength best = best_draft_length(0.8, 0.1, 15);
  for (std::int64_t k = 1; k <= 15; ++k) {
    EXPECT_LE(expected_speedup(0.8, k, 0.1), best.speedup);
  }
  EXPECT_EQ(best.speedup, expected_speedup(0.8, best.tokens, 0.1));
}

TEST(DraftLength, WhatWasAcceptedOfLateCountsMore) {
  RecentAcceptance recent;
  EXPECT_DOUBLE_EQ(recent.value(), 0.7);
  recent.add(2, 3);  // yes, yes, no
  EXPECT_DOUBLE_EQ(recent.value(),
                   (0.7 * 0.857375 + 0.9025 + 0.95) / (0.857375 + 0.9025 + 0.95 + 1));
  for (int i = 0; i < 100; ++i) recent.add(4, 4);
  EXPECT_GT(recent.value(), 0.99);
  for (int i = 0; i < 100; ++i) recent.add(0, 1);
  EXPECT_LT(recent.value(), 0.01);
}

TEST(DraftLength, RunsOfATextAreCounted) {
  // Rounds of two: (yes yes +1)(no)(yes no)(yes)
  EXPECT_DOUBLE_EQ(draft_rounds({true, true, true, false, true, false, true}, 2).tokens, 8 / 4.0);
  EXPECT_EQ(draft_rounds({true, true, true, false, true, false, true}, 2).whole, 0.25);
  EXPECT_EQ(draft_rounds(std::vector<bool>(9, false), 3).tokens, 1);
  EXPECT_EQ(draft_rounds({}, 3).tokens, 1);
  // Independent agreements meet the formula: 20,000 tokens, three standard errors of a round's.
  Random random(5);
  std::vector<bool> agrees;
  for (int i = 0; i < 20000; ++i) agrees.push_back(random.chance(0.7));
  EXPECT_NEAR(draft_rounds(agrees, 4).tokens, tokens_per_verification(0.7, 4), 0.07);
}

}  // namespace
}  // namespace mnm
