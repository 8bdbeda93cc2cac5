// Sequences side by side, at widths of their own, against each one computed alone and from its
// start (ModelSession::logits), on the bundled models.
#include "engine/sequences.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "engine/engine.h"
#include "families/open_model.h"

extern "C" mnm::Engine* mnm_make_engine();

namespace mnm {
namespace {

using Tokens = std::vector<std::int64_t>;

// Of a logit, all of which are below 32. In f32 each route rounds as often as there are terms on a
// path, and errors add up like a walk's steps: 8 layers and the head, of products at most 1,024
// long, of which a layer has six.
const double kTolerance = 2 * std::sqrt((8 + 1) * 6 * 1024.0) * 0x1p-24 * 32;

class SequencesOf : public ::testing::TestWithParam<std::string> {
 protected:
  // At `every` token the logits that whole-sequence evaluation gives.
  void expect_logits(std::span<const float> got, const Widths& widths, const Tokens& tokens,
                     std::int64_t first, const std::string& what) {
    const std::vector<float> whole = session_->logits(widths, ExampleInputs::of_tokens(tokens));
    const auto vocab = static_cast<std::size_t>(opened_.model.vocab_size);
    const std::size_t begin = static_cast<std::size_t>(first) * vocab;
    ASSERT_EQ(got.size(), whole.size() - begin) << what;
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      worst = std::max(
          worst, std::abs(static_cast<double>(got[i]) - static_cast<double>(whole[begin + i])));
    }
    EXPECT_LE(worst, kTolerance) << what;
  }

  Tokens text(std::size_t count, std::uint64_t seed) const {
    Random random(seed);
    Tokens tokens;
    for (std::size_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<std::int64_t>(32 + 90 * random.uniform()));
    }
    return tokens;
  }

  std::vector<Widths> submodels() const {
    const WidthSpace& space = opened_.model.space;
    Widths mixed = space.uniform(1);
    mixed.front() = space.full().front();
    mixed.back() = space.uniform(0).back();
    return {space.uniform(0), mixed, space.full(), space.uniform(1)};
  }

  const std::string directory_ = MNM_SOURCE_DIR "/data/" + GetParam();
  OpenedModel opened_ = open_model(directory_);
  std::unique_ptr<ModelSession> session_ = mnm_make_engine()->load(
      opened_.model, opened_.checkpoint, {.dtype = Dtype::kF32, .threads = 1});
  std::unique_ptr<Sequences> sequences_ = session_->sequences();
};

// Four sequences of unequal lengths at four submodels: prompts together, then parts of unequal
// lengths together, some of them of one token.
TEST_P(SequencesOf, StepsAtManyWidthsAreEachOneAlone) {
  const std::vector<Widths> widths = submodels();
  std::vector<Tokens> tokens;
  std::vector<SequenceId> ids;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    tokens.push_back(text(40, i));
    ids.push_back(sequences_->open({}));
  }
  std::vector<std::size_t> done(widths.size(), 0);
  for (const std::vector<std::size_t>& counts :
       {std::vector<std::size_t>{7, 1, 12, 3}, {1, 1, 1, 1}, {1, 5, 0, 2}, {3, 3, 3, 3}}) {
    std::vector<Feed> feeds;
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (counts[i] == 0) continue;
      feeds.push_back({.sequence = ids[i],
                       .widths = widths[i],
                       .tokens = std::span(tokens[i]).subspan(done[i], counts[i]),
                       .every_position = i % 2 == 0});
      who.push_back(i);
      done[i] += counts[i];
    }
    const auto logits = sequences_->step(feeds);
    for (std::size_t f = 0; f < who.size(); ++f) {
      const std::size_t i = who[f];
      EXPECT_EQ(sequences_->length(ids[i]), static_cast<std::int64_t>(done[i]));
      const auto begin = static_cast<std::int64_t>(done[i] - (i % 2 == 0 ? counts[i] : 1));
      expect_logits(logits[f], widths[i],
                    Tokens(tokens[i].begin(), tokens[i].begin() + static_cast<long>(done[i])),
                    begin, "sequence " + std::to_string(i));
    }
  }
  EXPECT_GT(sequences_->cache_bytes(), 0u);
  for (const SequenceId id : ids) sequences_->close(id);
  EXPECT_EQ(sequences_->cache_bytes(), 0u);
}

// A narrow draft writes into the sequence; it is taken back, and the wide tokens that follow are
// those of a sequence that never saw it.
TEST_P(SequencesOf, WhatIsTakenBackLeavesNoTrace) {
  const WidthSpace& space = opened_.model.space;
  const Widths wide = space.full(), narrow = space.uniform(0);
  const Tokens tokens = text(20, 1), draft = text(5, 2);
  const SequenceId id = sequences_->open({.take_back = 6});
  const auto feed = [&](const Widths& widths, std::span<const std::int64_t> part) {
    const Feed one{.sequence = id, .widths = widths, .tokens = part};
    return sequences_->step({&one, 1})[0];
  };
  feed(wide, std::span(tokens).first(10));
  for (const std::int64_t token : draft) feed(narrow, {&token, 1});
  sequences_->rewind(id, 10);
  EXPECT_EQ(sequences_->length(id), 10);
  feed(wide, std::span(tokens).subspan(10, 6));
  sequences_->rewind(id, 12);  // of one step's tokens some
  expect_logits(feed(wide, std::span(tokens).subspan(12)), wide, tokens, 19, "after two rewinds");
  for (std::int64_t back = 0; back <= 6; ++back) EXPECT_TRUE(sequences_->reaches(id, 20 - back));
  EXPECT_TRUE(sequences_->reaches(id, 0));
  EXPECT_THROW(sequences_->rewind(id, 21), Error);
  EXPECT_THROW(sequences_->rewind(id, -1), Error);
  sequences_->rewind(id, 0);
  expect_logits(feed(wide, draft), wide, draft, 4, "from the start");
}

// A token has the same bits alone, one by one, as among others in one step and beside other
// sequences: greedy speculative decoding depends on it.
TEST_P(SequencesOf, ATokenHasTheSameBitsInAnyCompany) {
  const Widths widths = opened_.model.space.uniform(1);
  const Tokens tokens = text(70, 7), others = text(9, 8);
  const SequenceId alone = sequences_->open({.take_back = 10}),
                   together = sequences_->open({.take_back = 10});
  const SequenceId beside = sequences_->open({});
  const Feed prompt{
      .sequence = alone, .widths = widths, .tokens = std::span(tokens).first(60), .settled = true};
  Feed same = prompt;
  same.sequence = together;
  sequences_->step({&prompt, 1});
  sequences_->step({&same, 1});
  std::vector<float> expected;
  for (std::size_t i = 60; i < 70; ++i) {
    const Feed one{.sequence = alone, .widths = widths, .tokens = std::span(tokens).subspan(i, 1)};
    const std::span<const float> logits = sequences_->step({&one, 1})[0];
    expected.insert(expected.end(), logits.begin(), logits.end());
  }
  const std::vector<Feed> feeds = {
      {.sequence = beside, .widths = widths, .tokens = std::span(others).first(3)},
      {.sequence = together,
       .widths = widths,
       .tokens = std::span(tokens).subspan(60),
       .every_position = true}};
  const std::span<const float> got = sequences_->step(feeds)[1];
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << i;
}

// Widths change between tokens, down and up: each token is computed at its own, from a cache that
// the others filled. One step for all equals one token after the other.
TEST_P(SequencesOf, WidthsChangeFromTokenToToken) {
  const std::vector<Widths> widths = submodels();
  const Tokens tokens = text(24, 9);
  const SequenceId one = sequences_->open({}), other = sequences_->open({.take_back = 30});
  std::vector<float> last;
  for (std::size_t i = 0; i < tokens.size(); i += 6) {
    const Widths& now = widths[i / 6];
    for (std::size_t t = i; t < i + 6; ++t) {
      const Feed feed{.sequence = one, .widths = now, .tokens = std::span(tokens).subspan(t, 1)};
      const std::span<const float> logits = sequences_->step({&feed, 1})[0];
      last.assign(logits.begin(), logits.end());
    }
    const Feed feed{.sequence = other, .widths = now, .tokens = std::span(tokens).subspan(i, 6)};
    const std::span<const float> logits = sequences_->step({&feed, 1})[0];
    for (std::size_t v = 0; v < last.size(); ++v) EXPECT_NEAR(logits[v], last[v], kTolerance);
  }
  // Back through all changes, and the same again.
  sequences_->rewind(other, 3);
  for (std::size_t t = 3; t < tokens.size(); ++t) {
    const Feed feed{
        .sequence = other, .widths = widths[t / 6], .tokens = std::span(tokens).subspan(t, 1)};
    const std::span<const float> logits = sequences_->step({&feed, 1})[0];
    if (t + 1 < tokens.size()) continue;
    for (std::size_t v = 0; v < last.size(); ++v) EXPECT_NEAR(logits[v], last[v], kTolerance);
  }
}

TEST_P(SequencesOf, RefusalsNameTheSequence) {
  const Widths wide = opened_.model.space.full();
  const Tokens tokens = text(5, 1);
  const SequenceId id = sequences_->open({});
  const Feed feed{.sequence = id, .widths = wide, .tokens = tokens};
  const std::vector<Feed> twice = {feed, feed};
  EXPECT_THROW(sequences_->step(twice), Error);
  Feed wrong = feed;
  wrong.tokens = {};
  EXPECT_THROW(sequences_->step({&wrong, 1}), Error);
  wrong = feed;
  const Widths few = {wide.front()};
  wrong.widths = few;
  EXPECT_THROW(sequences_->step({&wrong, 1}), Error);
  EXPECT_EQ(sequences_->length(id), 0);
  EXPECT_TRUE(sequences_->step({}).empty());
  sequences_->step({&feed, 1});
  if (GetParam() == "matmamba") {
    EXPECT_FALSE(sequences_->reaches(id, 3));
    EXPECT_THROW(sequences_->fork(id, 3), Error);
  } else {
    EXPECT_TRUE(sequences_->reaches(id, 3));
  }
}

TEST_P(SequencesOf, AForkIsASequenceOfItsOwn) {
  const Widths wide = opened_.model.space.full();
  const Tokens prompt = text(12, 3), one = text(4, 4), two = text(4, 5);
  const SequenceId first = sequences_->open({.take_back = 2});
  const Feed start{.sequence = first, .widths = wide, .tokens = prompt};
  sequences_->step({&start, 1});
  const SequenceId second = sequences_->fork(first, 12), third = sequences_->fork(first, 10);
  const std::vector<Feed> feeds = {{.sequence = first, .widths = wide, .tokens = one},
                                   {.sequence = second, .widths = wide, .tokens = two},
                                   {.sequence = third, .widths = wide, .tokens = two}};
  const auto logits = sequences_->step(feeds);
  const auto joined = [](Tokens a, std::size_t count, const Tokens& b) {
    a.resize(count);
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  expect_logits(logits[0], wide, joined(prompt, 12, one), 15, "the first");
  expect_logits(logits[1], wide, joined(prompt, 12, two), 15, "the fork at its end");
  expect_logits(logits[2], wide, joined(prompt, 10, two), 13, "the fork before its end");
  sequences_->close(first);
  const Feed more{.sequence = second, .widths = wide, .tokens = one};
  expect_logits(sequences_->step({&more, 1})[0], wide, joined(joined(prompt, 12, two), 16, one), 19,
                "the fork, after the first was closed");
  EXPECT_THROW(sequences_->length(first), Error);
}

INSTANTIATE_TEST_SUITE_P(Bundled, SequencesOf, ::testing::Values("reference", "matmamba"));

}  // namespace
}  // namespace mnm
