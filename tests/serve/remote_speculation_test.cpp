#include "serve/remote_speculation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "generate/generation.h"
#include "tests/generate/pair_distribution.h"
#include "tests/generate/table_sequences.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::FedToken;
using test::TableSequences;
using test::Tokens;

// What the verifier and the draft say after a token, of three.
using Table = std::vector<std::vector<double>>;
const Table kVerifier = {{0.6, 0.3, 0.1}, {0.05, 0.15, 0.8}, {0.4, 0.4, 0.2}};
const Table kDraft = {{0.2, 0.2, 0.6}, {0.3, 0.3, 0.4}, {0.4, 0.5, 0.1}};

std::vector<float> logits_of(const Table& table, std::int64_t last) {
  std::vector<float> logits;
  for (const double p : table[static_cast<std::size_t>(last)]) {
    logits.push_back(static_cast<float>(std::log(p)));
  }
  return logits;
}

// A verifier in this process, which reads proposals as a server does: through its JSON.
class TableVerifier final : public Verifier {
 public:
  explicit TableVerifier(const Sampling& sampling) : sampler_(sampling) {}

  VerifiedDraft verify(std::span<const std::int64_t> text, const std::vector<Proposal>& draft,
                       std::uint64_t seed) override {
    if (breaks_after-- == 0) throw ConnectionError("the cable is cut");
    VerifyRequest request;
    request.tokens = {text.back()};  // the table looks no further back
    request.draft = draft;
    request.sampling = sampler_.sampling();
    const VerifyRequest read = parse_verify_request(json_of(request).dump());
    most = std::max(most, draft.size());
    Tokens proposals;
    std::vector<float> logits = logits_of(kVerifier, text.back());
    for (const Proposal& proposal : read.draft) {
      proposals.push_back(proposal.token);
      const std::vector<float> row = logits_of(kVerifier, proposal.token);
      logits.insert(logits.end(), row.begin(), row.end());
    }
    std::vector<double> from;
    Random random(seed);
    return verify_draft(
        logits, proposals,
        [&](std::size_t i) -> std::span<const double> {
          return from = read.draft[i].distribution(3);
        },
        sampler_, random);
  }
  double seconds() const override { return 0.25; }

  std::size_t most = 0;
  int breaks_after = -1;

 private:
  Sampler sampler_;
};

// Each pass of the draft must have read the whole text before it.
std::vector<float> drafted(const std::vector<FedToken>& fed) {
  return logits_of(kDraft, fed.back().token);
}

Tokens speculate(const Sampling& sampling, std::uint64_t seed, std::int64_t draft_tokens,
                 std::int64_t count, SpeculationCounts* counts = nullptr) {
  TableSequences sequences(drafted);
  TableVerifier verifier(sampling);
  Random random(seed);
  Generation out;
  {
    RemoteSpeculation source(
        sequences, verifier,
        {.draft = {1}, .draft_tokens = draft_tokens, .context = 0, .sampling = sampling}, random);
    out = generate(source, Tokens{0, 2, 1}, {count, count + 3, {}},
                   [](std::optional<std::int64_t>) { return true; });
    if (counts != nullptr) *counts = source.counts();
    EXPECT_EQ(source.verifier_seconds(), 0.25);
  }
  EXPECT_EQ(sequences.open_sequences(), 0u);
  EXPECT_EQ(std::ssize(out.tokens), count);
  const std::int64_t most = draft_tokens > 0 ? draft_tokens : kMostProposals;
  EXPECT_LE(verifier.most, static_cast<std::size_t>(most));
  return out.tokens;
}

TEST(RemoteSpeculation, GreedyTokensAreTheVerifiers) {
  Tokens expected;
  for (std::int64_t last = 1; std::ssize(expected) < 40; last = expected.back()) {
    const std::vector<float> logits = logits_of(kVerifier, last);
    expected.push_back(std::ranges::max_element(logits) - logits.begin());
  }
  for (const std::int64_t length : {0, 1, 2, 5, 15}) {
    for (const std::int64_t count : {1, 2, 7, 40}) {
      EXPECT_EQ(speculate({}, 1, length, count), Tokens(expected.begin(), expected.begin() + count))
          << length << " at once, " << count << " tokens";
    }
  }
}

TEST(RemoteSpeculation, TheSameSeedGivesTheSameTokens) {
  const Sampling sampling = {1, 0, 1};
  const Tokens tokens = speculate(sampling, 7, 0, 60);
  EXPECT_EQ(speculate(sampling, 7, 0, 60), tokens);
  EXPECT_NE(speculate(sampling, 8, 0, 60), tokens);
}

// Counts of pairs of neighbours against the verifier's known probabilities: Pearson's chi-squared.
// 3 rows of 2 degrees of freedom; the 99.99 % point of 6 is 27.9. The draft's own give thousands.
TEST(RemoteSpeculation, DrawnTokensAreDistributedAsTheVerifiers) {
  for (const std::int64_t length : {0, 1, 3}) {
    for (const double temperature : {1.0, 0.5}) {
      const Tokens tokens = speculate({temperature, 0, 1}, 3, length, 30000);
      const double chi = test::chi_squared_of_pairs(tokens, kVerifier, temperature);
      EXPECT_LT(chi, 27.9) << length << " at once, temperature " << temperature;
    }
  }
}

TEST(RemoteSpeculation, CountsAreOfWhatWasTested) {
  SpeculationCounts counts;
  speculate({1, 0, 1}, 5, 3, 2000, &counts);
  EXPECT_GE(counts.tokens, 2000);
  EXPECT_LT(counts.tokens, 2004);
  EXPECT_EQ(counts.tokens, counts.accepted + counts.verifications);
  EXPECT_GT(counts.acceptance(), 0.4);
  EXPECT_LT(counts.acceptance(), 0.9);
}

TEST(RemoteSpeculation, ALostConnectionSaysWhatThereIs) {
  TableSequences sequences(drafted);
  TableVerifier verifier(Sampling{});
  verifier.breaks_after = 2;
  Random random(1);
  RemoteSpeculation source(sequences, verifier, {.draft = {1}, .draft_tokens = 1}, random);
  source.read(Tokens{0, 2, 1});
  Tokens text = {0, 2, 1};
  for (int i = 0; i < 2; ++i) {
    for (const std::int64_t token : source.next(10)) text.push_back(token);
  }
  const std::string error = error_of([&] { source.next(10); });
  EXPECT_TRUE(contains(error, fmt::format("after {} new tokens", text.size() - 3))) << error;
  EXPECT_TRUE(contains(error, "the cable is cut")) << error;
  EXPECT_TRUE(contains(error, fmt::format("--tokens {}", fmt::join(text, ",")))) << error;
}

// So does whatever else ends the verifier's answers, such as a server that shuts down.
TEST(RemoteSpeculation, ARefusalSaysWhatThereIs) {
  class Refuses final : public Verifier {
   public:
    VerifiedDraft verify(std::span<const std::int64_t>, const std::vector<Proposal>&,
                         std::uint64_t) override {
      if (said++ > 0) fail("it is shutting down");
      return {0, 2};
    }
    double seconds() const override { return 0; }
    int said = 0;
  };
  TableSequences sequences(drafted);
  Refuses verifier;
  Random random(1);
  RemoteSpeculation source(sequences, verifier, {.draft = {1}, .draft_tokens = 1}, random);
  source.read(Tokens{0, 1});
  EXPECT_EQ(source.next(10), Tokens{2});
  const std::string error = error_of([&] { source.next(10); });
  EXPECT_TRUE(contains(error, "it is shutting down")) << error;
  EXPECT_TRUE(contains(error, "--tokens 0,1,2")) << error;
}

// A round of the pair then takes as long as as many tokens of the verifier alone.
TEST(RemoteSpeculation, BreakEvenIsWhereBothAreAsFast) {
  const double tokens = 3.2, alone = 0.04, length = 4, draft = 0.005, verification = 0.045;
  const double even = break_even_seconds(tokens, alone, length, draft, verification);
  EXPECT_NEAR((length * draft + verification + even) / tokens, alone, 1e-12);
}

}  // namespace
}  // namespace mnm
