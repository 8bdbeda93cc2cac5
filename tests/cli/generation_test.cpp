#include "cli/generation.h"

#include <gtest/gtest.h>

#include "tests/support/models.h"

namespace mnm {
namespace {

using test::prefix_model;

// Says the successor of the last token, and remembers what it was fed.
class Counting final : public Decoder {
 public:
  std::span<const float> feed(std::span<const std::int64_t> tokens) override {
    EXPECT_FALSE(tokens.empty());
    fed.insert(fed.end(), tokens.begin(), tokens.end());
    longest = std::max(longest, tokens.size());
    logits_.assign(10, 0);
    logits_[static_cast<std::size_t>((tokens.back() + 1) % 10)] = 5;
    return logits_;
  }
  std::vector<std::int64_t> fed;
  std::size_t longest = 0;

 private:
  std::vector<float> logits_;
};

struct Outcome {
  Generation result;
  std::vector<std::int64_t> fed, shown;
  std::size_t longest = 0;
};

Outcome run(const std::vector<std::int64_t>& prompt, const GenerationLimits& limits,
            const Sampling& sampling = {}, std::uint64_t seed = 1,
            std::size_t stop_after = SIZE_MAX) {
  Counting decoder;
  Sampler sampler(sampling);
  Random random(seed);
  Outcome out;
  std::size_t asked = 0;
  out.result =
      generate(decoder, prompt, limits, sampler, random, [&](std::optional<std::int64_t> token) {
        if (token) out.shown.push_back(*token);
        return ++asked <= stop_after;
      });
  out.fed = decoder.fed;
  out.longest = decoder.longest;
  return out;
}

using Tokens = std::vector<std::int64_t>;

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
