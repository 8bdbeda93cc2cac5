#include "generate/speculative.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "generate/generation.h"
#include "generate/scheduled_widths.h"
#include "tests/generate/pair_distribution.h"
#include "tests/generate/table_sequences.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::FedToken;
using test::TableSequences;
using test::Tokens;

constexpr Width kNarrow = 1, kWide = 4;

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

// What the wide width and the narrow one say after a token, of three. The two differ much.
const std::vector<std::vector<double>> kVerifier = {
    {0.6, 0.3, 0.1}, {0.05, 0.15, 0.8}, {0.4, 0.4, 0.2}};
const std::vector<std::vector<double>> kDraft = {{0.2, 0.2, 0.6}, {0.3, 0.3, 0.4}, {0.4, 0.5, 0.1}};

std::vector<double> known(Width width, std::int64_t last) {
  return (width == kWide ? kVerifier : kDraft)[static_cast<std::size_t>(last)];
}

// A pass at a width must have read the tokens before it: the verifier's at its own width, the
// draft's own sequence at the draft's. The last ones are looked at, since a round goes no further
// back.
struct Checked {
  DraftCache cache;
  std::vector<float> operator()(const std::vector<FedToken>& fed) const {
    const Width now = fed.back().widths.front();
    const std::size_t first = fed.size() > 20 ? fed.size() - 20 : 0;
    for (std::size_t i = first; i < fed.size(); ++i) {
      if (now == kWide || cache == DraftCache::kOwn) {
        EXPECT_EQ(fed[i].widths.front(), now);
      }
    }
    return logs(known(now, fed.back().token));
  }
};

Tokens speculate(const Sampling& sampling, std::uint64_t seed, DraftCache cache,
                 std::int64_t draft_tokens, std::int64_t count,
                 SpeculationCounts* counts = nullptr) {
  TableSequences sequences(Checked{cache});
  Sampler sampler(sampling);
  Random random(seed);
  Generation out;
  {
    Speculation source(sequences,
                       {.draft = {kNarrow},
                        .verifier = {kWide},
                        .cache = cache,
                        .draft_tokens = draft_tokens,
                        .most = 6},
                       sampler, random);
    out = generate(source, Tokens{0, 2, 1}, {count, count + 3, {}},
                   [](std::optional<std::int64_t>) { return true; });
    if (counts != nullptr) *counts = source.counts();
  }
  EXPECT_EQ(sequences.open_sequences(), 0u);
  EXPECT_EQ(std::ssize(out.tokens), count);
  return out.tokens;
}

Tokens alone(const Sampling& sampling, std::uint64_t seed, std::int64_t count) {
  TableSequences sequences(Checked{DraftCache::kOwn});
  Sampler sampler(sampling);
  Random random(seed);
  ScheduledWidths source(sequences, {}, {{0, {kWide}}}, sampler, random);
  return generate(source, Tokens{0, 2, 1}, {count, count + 3, {}},
                  [](std::optional<std::int64_t>) { return true; })
      .tokens;
}

// With a draft that is another model. Both models give their first sequence the same id.
Tokens with_another_model(const Sampling& sampling, std::int64_t draft_tokens, std::int64_t count) {
  const auto says = [](Width width) {
    return [width](const std::vector<FedToken>& fed) {
      EXPECT_EQ(fed.back().widths.front(), width);
      return logs(known(width, fed.back().token));
    };
  };
  TableSequences verifier(says(kWide)), draft(says(kNarrow));
  Sampler sampler(sampling);
  Random random(3);
  Generation out;
  {
    Speculation source(
        verifier, draft,
        {.draft = {kNarrow}, .verifier = {kWide}, .draft_tokens = draft_tokens, .most = 6}, sampler,
        random);
    out = generate(source, Tokens{0, 2, 1}, {count, count + 3, {}},
                   [](std::optional<std::int64_t>) { return true; });
    EXPECT_EQ(verifier.open_sequences(), 1u);
    EXPECT_EQ(draft.open_sequences(), 1u);
  }
  EXPECT_EQ(verifier.open_sequences() + draft.open_sequences(), 0u);
  return out.tokens;
}

const std::vector<DraftCache> kCaches = {DraftCache::kOwn, DraftCache::kShared};

TEST(Speculation, GreedyTokensAreTheVerifiers) {
  for (const DraftCache cache : kCaches) {
    for (const std::int64_t length : {0, 1, 2, 5}) {
      for (const std::int64_t count : {1, 2, 7, 40}) {
        EXPECT_EQ(speculate({}, 1, cache, length, count), alone({}, 1, count))
            << length << " at once, " << count << " tokens";
      }
    }
  }
}

TEST(Speculation, TheSameSeedGivesTheSameTokens) {
  const Sampling sampling = {1, 0, 1};
  for (const DraftCache cache : kCaches) {
    const Tokens tokens = speculate(sampling, 7, cache, 0, 60);
    EXPECT_EQ(speculate(sampling, 7, cache, 0, 60), tokens);
    EXPECT_NE(speculate(sampling, 8, cache, 0, 60), tokens);
  }
}

// Counts of pairs of neighbours against the verifier's known probabilities: Pearson's chi-squared,
// row by row. Each of the 3 rows has 2 degrees of freedom; together 6, whose 99.99 % point is 27.9.
// The draft's own probabilities give thousands.
TEST(Speculation, DrawnTokensAreDistributedAsTheVerifiers) {
  for (const DraftCache cache : kCaches) {
    for (const std::int64_t length : {0, 1, 3}) {
      for (const double temperature : {1.0, 0.5}) {
        const Tokens tokens = speculate({temperature, 0, 1}, 3, cache, length, 30000);
        const double chi = test::chi_squared_of_pairs(tokens, kVerifier, temperature);
        EXPECT_LT(chi, 27.9) << length << " at once, temperature " << temperature;
      }
    }
  }
}

TEST(Speculation, ADraftMayBeAnotherModel) {
  for (const std::int64_t length : {0, 1, 3}) {
    EXPECT_EQ(with_another_model({}, length, 40), alone({}, 1, 40)) << length << " at once";
    const Tokens tokens = with_another_model({1, 0, 1}, length, 30000);
    EXPECT_LT(test::chi_squared_of_pairs(tokens, kVerifier, 1), 27.9) << length << " at once";
  }
}

TEST(Speculation, AnotherModelThatCannotBeADraftIsRefused) {
  TableSequences verifier(Checked{DraftCache::kOwn});
  TableSequences draft([](const std::vector<FedToken>&) { return std::vector<float>(4, 0); });
  Sampler sampler({});
  Random random(1);
  const auto refusal = [&](DraftCache cache) {
    return test::usage_error_of([&] {
      const SpeculationSettings settings = {
          .draft = {kNarrow}, .verifier = {kWide}, .cache = cache};
      Speculation source(verifier, draft, settings, sampler, random);
      source.read(Tokens{0});
    });
  };
  const std::string shared = refusal(DraftCache::kShared), own = refusal(DraftCache::kOwn);
  EXPECT_TRUE(test::contains(shared, "another model cannot share")) << shared;
  EXPECT_TRUE(test::contains(own, "vocabulary of 4 tokens, and the verifier one of 3")) << own;
  EXPECT_EQ(verifier.open_sequences() + draft.open_sequences(), 0u);
}

// Of an accepted token: sum over tokens of min(p, q), in the long run by how often each comes
// first.
TEST(Speculation, CountsAreOfWhatWasTested) {
  SpeculationCounts counts;
  speculate({1, 0, 1}, 5, DraftCache::kOwn, 3, 20000, &counts);
  EXPECT_EQ(counts.tokens + 1, 20000);
  EXPECT_LE(counts.accepted, counts.tested);
  EXPECT_LE(counts.tested, counts.proposed);
  EXPECT_EQ(counts.tokens, counts.accepted + counts.verifications);
  EXPECT_GT(counts.acceptance(), 0.4);  // the least of the three rows' overlaps
  EXPECT_LT(counts.acceptance(), 0.9);  // the largest
  speculate({}, 5, DraftCache::kShared, 4, 1, &counts);
  EXPECT_EQ(counts.verifications, 0);
}

// An agreeing draft is asked for more tokens at once than one that never agrees.
TEST(Speculation, TheLengthFollowsTheAcceptance) {
  const auto proposed = [](bool agrees) {
    TableSequences sequences([agrees](const std::vector<FedToken>& fed) {
      std::vector<float> logits(4, 0);
      const bool shifted = !agrees && fed.back().widths.front() == kNarrow;
      logits[static_cast<std::size_t>(fed.back().token + (shifted ? 2 : 1)) % 4] = 9;
      return logits;
    });
    Sampler sampler({});
    Random random(1);
    Speculation source(sequences, {.draft = {kNarrow}, .verifier = {kWide}, .most = 6, .cost = 0.1},
                       sampler, random);
    generate(source, Tokens{0}, {200, 1000, {}}, [](std::optional<std::int64_t>) { return true; });
    return static_cast<double>(source.counts().proposed) /
           static_cast<double>(source.counts().verifications);
  };
  EXPECT_GT(proposed(true), 5);
  EXPECT_LT(proposed(false), 1.5);
}

// Every branch of the verdict, by its own probabilities.
TEST(Speculation, AVerdictIsDistributedAsTheVerifier) {
  const std::vector<double> p = {0.1, 0.2, 0.3, 0.4}, q = {0.7, 0.1, 0.2, 0.0};
  Random random(9);
  std::vector<double> seen(4);
  const int draws = 40000;
  for (int i = 0; i < draws; ++i) {
    const std::int64_t x = draw(q, 1, random.uniform());
    ++seen[static_cast<std::size_t>(verify(p, q, x, random).token)];
  }
  double chi = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    chi += std::pow(seen[i] - draws * p[i], 2) / (draws * p[i]);
  }
  EXPECT_LT(chi, 21.1);  // the 99.99 % point of 3 degrees of freedom
}

}  // namespace
}  // namespace mnm
