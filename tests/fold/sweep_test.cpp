#include "fold/sweep.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "dataset/tokens.h"
#include "fold/evaluator.h"
#include "tests/fold/toy_fold.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::toy_model;
using test::ToyFold;

TokenExamples random_data(std::int64_t sequences, std::int64_t context, std::int64_t vocab) {
  TokenExamples data;
  data.count = sequences;
  data.context = context;
  std::mt19937 random(7);
  for (std::int64_t i = 0; i <= sequences * context; ++i) {
    data.tokens.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab)));
  }
  return data;
}

std::vector<Widths> draw(const WidthSpace& space, std::size_t n) {
  std::mt19937 random(11);
  std::vector<Widths> drawn(n);
  for (Widths& widths : drawn) {
    for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
      const std::vector<Width> choices = space.choices(layer);
      widths.push_back(choices[random() % choices.size()]);
    }
  }
  return drawn;
}

class Sweeps : public ::testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    resident_ = score_candidates(fold_, model_, at::kCPU, candidates_, data_,
                                 {.metrics = {Metric::kKl}}, {}, {});
    fold_.loaded.assign(model_.layers(), 0);
  }

  std::vector<CandidateScores> score(const StreamLimits& stream, std::uint64_t memory) {
    fold_.loads = fold_.most_loaded = 0;
    return score_candidates(fold_, model_, at::kCPU, candidates_, data_,
                            {.metrics = {Metric::kKl}, .one_by_one = one_by_one_}, {memory, stream},
                            {});
  }

  StreamLimits disk(std::uint64_t bytes) const { return {0, dir_.path(), bytes}; }

  // The same arithmetic on the same chunks: the same bits.
  void expect_resident(const std::vector<CandidateScores>& scores) const {
    ASSERT_EQ(scores.size(), resident_.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      EXPECT_EQ(scores[i][Metric::kLoss], resident_[i][Metric::kLoss]) << i;
      EXPECT_EQ(scores[i][Metric::kKl], resident_[i][Metric::kKl]) << i;
      EXPECT_EQ(scores[i][Metric::kAgreement], resident_[i][Metric::kAgreement]) << i;
    }
  }

  test::TempDir dir_;
  NestedModel model_ = toy_model({.layers = 4, .may_skip = true});
  ToyFold fold_{model_, 3};
  TokenExamples data_ = random_data(8, 300, 13);  // a step takes one parent
  std::vector<Widths> candidates_ = draw(model_.space, 30);
  bool one_by_one_ = false;
  std::vector<CandidateScores> resident_;
};

constexpr std::uint64_t kAmple = 1u << 30;
constexpr std::uint64_t kNode = 17 * 8 * 8 * 300;  // bytes of one node's states, all sequences

TEST_F(Sweeps, OnePassOverTheLayersScoresAllAsTheWalkDoes) {
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    expect_resident(score(disk(kAmple), kAmple));
    EXPECT_EQ(fold_.loads, 4);
    EXPECT_LE(fold_.most_loaded, 2);
    EXPECT_EQ(fold_.held, 0);
  }
}

TEST_F(Sweeps, StatesGoToDiskWhereTheMemoryEnds) {
  // Beside one step's work there is room for all states, for some, for none.
  for (const std::uint64_t memory : {64 * kNode, 16 * kNode, 8 * kNode}) {
    expect_resident(score(disk(kAmple), memory));
    EXPECT_EQ(fold_.loads, 4) << memory;
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  StreamLimits gone = disk(kAmple);
  gone.spill = dir_ / "gone";
  score(gone, kAmple);  // nobody looks for it before it is needed
  const std::string refused = error_of([&] { score(gone, 8 * kNode); });
  EXPECT_TRUE(contains(refused, "gone") && contains(refused, "TMPDIR")) << refused;
}

TEST_F(Sweeps, CandidatesAreSplitWhereStatesFitNowhere) {
  expect_resident(score(disk(10 * kNode), 8 * kNode));
  EXPECT_GT(fold_.loads, 4);
  EXPECT_EQ(fold_.loads % 4, 0);
  EXPECT_LT(fold_.loads, 4 * 30);
}

TEST_F(Sweeps, OneByOneTakesAPassForEach) {
  one_by_one_ = true;
  const auto scores = score(disk(kAmple), kAmple);
  EXPECT_EQ(fold_.loads, 4 * 30);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t s = 0; s < scores[i][Metric::kLoss].size(); ++s) {
      EXPECT_NEAR(scores[i][Metric::kLoss][s], resident_[i][Metric::kLoss][s],
                  1e-5);  // sums in another order, in f32
    }
  }
}

TEST_F(Sweeps, ALayerThatNobodyTakesIsNotLoaded) {
  for (const std::vector<std::size_t>& skipped :
       std::vector<std::vector<std::size_t>>{{0}, {2}, {3}, {1, 2}, {0, 1, 2, 3}}) {
    std::vector<Widths> candidates = candidates_;
    for (Widths& widths : candidates) {
      for (const std::size_t layer : skipped) widths[layer] = kSkip;
    }
    fold_.loaded.assign(model_.layers(), 1);
    const auto resident = score_candidates(fold_, model_, at::kCPU, candidates, data_, {}, {}, {});
    fold_.loaded.assign(model_.layers(), 0);
    fold_.loads = 0;
    const auto streamed = score_candidates(fold_, model_, at::kCPU, candidates, data_, {},
                                           {kAmple, disk(kAmple)}, {});
    EXPECT_EQ(fold_.loads, 4 - static_cast<std::int64_t>(skipped.size()));
    EXPECT_EQ(fold_.held, 0);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      EXPECT_EQ(streamed[i][Metric::kLoss], resident[i][Metric::kLoss]) << to_string(candidates[i]);
    }
  }
}

TEST_F(Sweeps, WhatLoadingThrowsEndsItAndLeavesNothingLoaded) {
  for (const std::size_t broken : {0, 1, 3}) {
    fold_.before_load = [&](std::size_t layer) {
      if (layer == broken) throw std::runtime_error("the file ends");
    };
    EXPECT_THROW(score(disk(kAmple), kAmple), std::runtime_error);
    EXPECT_EQ(fold_.held, 0);
  }
  fold_.before_load = {};
  expect_resident(score(disk(kAmple), kAmple));
}

TEST(LevelStates, ComeBackAsTheyWentWhereverTheyLie) {
  const test::TempDir dir;
  const State like = {{at::zeros({1, 2, 3, 4}), at::zeros({1, 2, 5}, at::kLong)}};
  const std::uint64_t node = 2 * 3 * 4 * 4 + 2 * 5 * 8;
  for (const std::uint64_t room_for : {0, 7, 14}) {  // nodes in memory: none, one batch, both
    StateRoom room(at::kCPU, room_for * node, 0, dir.path());
    LevelStates level(room, 2);
    std::vector<State> written;
    for (std::size_t b = 0; b < 2; ++b) {
      written.push_back({{at::randn({7, 2, 3, 4}), at::randint(1000, {7, 2, 5}, at::kLong)}});
      level.open(b, 7, like);
    }
    EXPECT_EQ(room.spilled(), (14 - room_for) * node);
    for (const std::int64_t first : {4, 0, 2}) {  // in any order
      const std::int64_t count = first == 4 ? 3 : 2;
      for (std::size_t b = 0; b < 2; ++b) level.write(b, first, written[b].narrow(first, count));
    }
    for (std::size_t b = 0; b < 2; ++b) {
      for (const auto& [first, count] : {std::pair{0, 7}, {3, 2}, {6, 1}}) {
        const State read = level.read(b, first, count), expected = written[b].narrow(first, count);
        for (std::size_t i = 0; i < 2; ++i) {
          EXPECT_TRUE(read.tensors[i].equal(expected.tensors[i])) << b << " " << first;
        }
      }
    }
    level.close(0);
    level.close(1);
    EXPECT_EQ(room.take(room_for * node), StateRoom::Place::kDevice) << "all was given back";
  }
}

}  // namespace
}  // namespace mnm
