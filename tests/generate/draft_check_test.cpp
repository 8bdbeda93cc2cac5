#include "generate/draft_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/generate/table_sequences.h"

namespace mnm {
namespace {

using test::FedToken;
using test::TableSequences;
using test::Tokens;

constexpr Width kNarrow = 1, kWide = 4;
constexpr std::size_t kPositions = 24;

// After each token the wide width has 0.6, 0.3 and 0.1 for the three that follow it, in turn, and
// the narrow one 0.3, 0.3 and 0.4. So a proposal is accepted with probability 0.3 + 0.3 + 0.1.
std::vector<float> turning(const std::vector<FedToken>& fed) {
  EXPECT_LE(fed.size(), kPositions);
  const bool wide = fed.back().widths.front() == kWide;
  const double wide_says[] = {0.6, 0.3, 0.1}, narrow_says[] = {0.3, 0.3, 0.4};
  std::vector<float> logits(3);
  for (std::size_t i = 0; i < 3; ++i) {
    const double p = wide ? wide_says[i] : narrow_says[i];
    logits[(static_cast<std::size_t>(fed.back().token) + 1 + i) % 3] =
        static_cast<float>(std::log(p));
  }
  return logits;
}

DraftCheckSettings settings_of(DraftCache cache, Widths draft) {
  return {.speculation = {.draft = std::move(draft),
                          .verifier = {kWide},
                          .cache = cache,
                          .draft_tokens = 3,
                          .context = kPositions},
          .new_tokens = 20};
}

DraftCheck checked(const DraftCheckSettings& settings) {
  TableSequences sequences(turning);
  const std::vector<Tokens> prompts = {{0, 1, 2, 0}, {2, 2, 1, 1}};
  const DraftCheck check = check_draft(sequences, settings, prompts, {});
  EXPECT_EQ(sequences.open_sequences(), 0u);
  return check;
}

TEST(DraftCheck, TheAcceptanceIsTheOverlap) {
  for (const DraftCache cache : {DraftCache::kOwn, DraftCache::kShared}) {
    const DraftCheck check = checked(settings_of(cache, {kNarrow}));
    EXPECT_EQ(check.tokens, 40);
    EXPECT_NEAR(check.acceptance, 0.7, 1e-6);
    EXPECT_GE(check.tokens_per_verification, 1);
    EXPECT_LT(check.tokens_per_verification, 4);
    // The speed-ups follow from what stands beside them.
    EXPECT_NEAR(check.predicted,
                check.tokens_per_verification * check.alone /
                    (3 * check.draft + check.whole * check.catching_up + check.verification),
                1e-9 * check.predicted);
    EXPECT_NEAR(check.formula, expected_speedup(check.acceptance, 3, check.draft / check.alone),
                1e-9 * check.formula);
    EXPECT_GT(std::min({check.alone, check.draft, check.verification, check.measured}), 0);
  }
}

TEST(DraftCheck, ADraftThatIsTheVerifierIsAlwaysAccepted) {
  const DraftCheck check = checked(settings_of(DraftCache::kShared, {kWide}));
  EXPECT_NEAR(check.acceptance, 1, 1e-6);
  EXPECT_EQ(check.tokens_per_verification, 4);
}

// Whichever pass fails: those of the verifier's text, of the two that read it again, or of the
// times.
TEST(DraftCheck, AFailedPassLeavesNoSequenceOpen) {
  const std::vector<Tokens> prompts = {{0, 1, 2, 0}};
  int failures = 0;
  for (int last = 0;; ++last) {
    int passes = 0;
    TableSequences sequences([&](const std::vector<FedToken>& fed) {
      if (passes++ == last) fail("the device is gone");
      return turning(fed);
    });
    try {
      check_draft(sequences, settings_of(DraftCache::kOwn, {kNarrow}), prompts, {});
      break;
    } catch (const Error&) {
      ++failures;
      EXPECT_EQ(sequences.open_sequences(), 0u) << "pass " << last;
    }
  }
  EXPECT_GT(failures, 60);
}

TEST(DraftCheck, StopsBetweenPrompts) {
  TableSequences sequences(turning);
  const std::vector<Tokens> prompts(3, Tokens{0, 1});
  int asked = 0;
  EXPECT_THROW(check_draft(sequences, settings_of(DraftCache::kOwn, {kNarrow}), prompts,
                           [&](const Progress& progress) {
                             EXPECT_EQ(progress.done, asked);
                             return ++asked < 2;
                           }),
               Stopped);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(sequences.open_sequences(), 0u);
}

}  // namespace
}  // namespace mnm
