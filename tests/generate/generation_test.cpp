#include "generate/generation.h"

#include <gtest/gtest.h>

#include <utility>

#include "generate/scheduled_widths.h"
#include "tests/generate/table_sequences.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

using test::prefix_model;
using test::TableSequences;
using test::Tokens;

// Says the successor of the last token, plus one for every width above 1.
std::vector<float> successor(const std::vector<test::FedToken>& fed) {
  std::vector<float> logits(10, 0);
  const auto next = static_cast<std::size_t>(fed.back().token + fed.back().widths.front());
  logits[next % 10] = 5;
  return logits;
}

struct Outcome {
  Generation result;
  Tokens fed, shown;
  std::size_t longest = 0;
};

Outcome run(const Tokens& prompt, const GenerationLimits& limits, const Sampling& sampling = {},
            std::uint64_t seed = 1, std::size_t stop_after = SIZE_MAX,
            std::vector<WidthChange> schedule = {{0, {1}}}) {
  TableSequences sequences(successor);
  Sampler sampler(sampling);
  Random random(seed);
  Outcome out;
  std::size_t asked = 0;
  {
    ScheduledWidths source(sequences, {}, std::move(schedule), sampler, random);
    out.result = generate(source, prompt, limits, [&](std::optional<std::int64_t> token) {
      if (token) out.shown.push_back(*token);
      return ++asked <= stop_after;
    });
  }
  EXPECT_EQ(sequences.open_sequences(), 0u);
  out.fed = sequences.fed;
  out.longest = sequences.longest;
  return out;
}

TEST(Generation, StopsWhereItShould) {
  const Outcome most = run({1, 2}, {3, 100, {}});
  EXPECT_EQ(most.result.tokens, (Tokens{3, 4, 5}));
  EXPECT_EQ(most.shown, most.result.tokens);
  EXPECT_EQ(most.fed, (Tokens{1, 2, 3, 4}));  // the last one leads nowhere
  EXPECT_EQ(most.result.finish, Finish::kNewTokens);
  EXPECT_EQ(most.result.decoded, 2);

  const Outcome end = run({1, 2}, {100, 100, {5, 7}});
  EXPECT_EQ(end.result.tokens, (Tokens{3, 4, 5}));
  EXPECT_EQ(end.result.finish, Finish::kEnd);

  // Of five positions four are the prompt's: one new token can be fed, and one more be said.
  const Outcome context = run({1, 2, 3, 4}, {100, 5, {}});
  EXPECT_EQ(context.result.tokens, (Tokens{5, 6}));
  EXPECT_EQ(context.fed.size(), 5u);
  EXPECT_EQ(context.result.finish, Finish::kContext);
  EXPECT_EQ(run({1, 2, 3, 4, 5}, {100, 5, {}}).result.tokens, (Tokens{6}));

  const Outcome stopped = run({1, 2}, {100, 100, {}}, {}, 1, 2);
  EXPECT_EQ(stopped.result.finish, Finish::kStopped);
  EXPECT_EQ(stopped.result.tokens, (Tokens{3, 4}));
}

// The prompt and two tokens at width 1, then width 3 and from the fourth token on width 1 again.
TEST(Generation, AChangeOfWidthsTakesTheNextToken) {
  const Outcome out = run({1}, {6, 100, {}}, {}, 1, SIZE_MAX, {{0, {1}}, {2, {3}}, {4, {1}}});
  EXPECT_EQ(out.result.tokens, (Tokens{2, 3, 6, 9, 0, 1}));
}

TEST(Generation, LongPromptsGoInByParts) {
  Tokens prompt;
  for (int i = 0; i < 1300; ++i) prompt.push_back(i % 10);
  const Outcome whole = run(prompt, {1, 5000, {}});
  EXPECT_EQ(whole.fed, prompt);
  EXPECT_LE(whole.longest, 512u);
  EXPECT_EQ(whole.result.decoded, 0);
  const Outcome stopped = run(prompt, {1, 5000, {}}, {}, 1, 1);
  EXPECT_EQ(stopped.fed.size(), 512u);
  EXPECT_TRUE(stopped.result.tokens.empty());
  EXPECT_EQ(stopped.result.finish, Finish::kStopped);
}

TEST(Generation, ASeedIsItsTokens) {
  const Sampling sampling = {2, 0, 1};
  const GenerationLimits limits = {50, 1000, {}};
  const Tokens tokens = run({1}, limits, sampling, 7).result.tokens;
  EXPECT_EQ(run({1}, limits, sampling, 7).result.tokens, tokens);
  EXPECT_NE(run({1}, limits, sampling, 8).result.tokens, tokens);
  // Fixed once and for all machines; the generator and the sum were also run in Python.
  EXPECT_EQ(Tokens(tokens.begin(), tokens.begin() + 8), (Tokens{3, 4, 6, 9, 9, 7, 1, 2}));
}

TEST(Generation, BytesOfATokenAreWeightsAndCache) {
  const std::int64_t vocab = 11, hidden = 6;
  // Per layer: norm, attention, gate and down at the width; then the last norm and the head.
  const std::int64_t layers = 2 * (hidden + hidden * hidden) + 2 * hidden * (4 + 2);
  const std::int64_t rest = hidden + vocab * hidden;
  const NestedModel untied = prefix_model(2, hidden, {2, 4}, vocab);
  EXPECT_EQ(bytes_per_token(untied, {4, 2}, Dtype::kF32, 0),
            static_cast<std::uint64_t>(4 * (layers + rest + hidden)));
  EXPECT_EQ(bytes_per_token(untied, {4, 2}, Dtype::kBF16, 10),
            static_cast<std::uint64_t>(2 * (layers + rest + hidden + 10 * 2 * 2 * hidden)));
  const NestedModel tied = prefix_model(2, hidden, {2, 4}, vocab, true);
  EXPECT_EQ(bytes_per_token(tied, {4, 2}, Dtype::kF32, 0),
            static_cast<std::uint64_t>(4 * (layers + rest)));
}

}  // namespace
}  // namespace mnm
