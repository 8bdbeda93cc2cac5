#include "train/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace mnm {
namespace {

TEST(LearningRate, WarmsUpLinearlyThenFallsByACosineToItsEnd) {
  TrainSettings s;
  s.steps = 1000;
  s.warmup = 100;
  s.learning_rate = 2e-3;
  s.min_rate = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 2e-5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 49), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 99), 2e-3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 100), 2e-3);
  EXPECT_NEAR(learning_rate(s, 550), 2e-3 * 0.55, 1e-12);  // half-way: the mean of both ends
  EXPECT_NEAR(learning_rate(s, 1000), 2e-4, 1e-12);
  for (std::int64_t step = 100; step + 1 < s.steps; ++step) {
    EXPECT_GT(learning_rate(s, step), learning_rate(s, step + 1)) << step;
  }
}

TEST(LearningRate, NoWarmUpStartsAtThePeak) {
  TrainSettings s;
  s.warmup = 0;
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), s.learning_rate);
}

std::size_t drawn(const TrainSettings& s, std::int64_t step) {
  const std::vector<Share> shares = shares_of_step(s, 4, step);
  EXPECT_EQ(shares.size(), 1u);
  EXPECT_EQ(shares.front().weight, 1);
  return shares.front().level;
}

TEST(OneAStep, FollowsTheWeights) {
  struct Case {
    std::vector<double> weights;
    std::vector<double> expected;
  };
  const Case cases[] = {{{}, {0.25, 0.25, 0.25, 0.25}},
                        {{1, 1, 1, 1}, {0.25, 0.25, 0.25, 0.25}},
                        {{0, 3, 1, 0}, {0, 0.75, 0.25, 0}},
                        {{0, 0, 0, 2}, {0, 0, 0, 1}}};
  constexpr int kDraws = 20000;
  for (const Case& c : cases) {
    TrainSettings s;
    s.weights = c.weights;
    std::vector<int> counts(4);
    for (int step = 0; step < kDraws; ++step) ++counts[drawn(s, step)];
    for (std::size_t k = 0; k < 4; ++k) {
      const double p = c.expected[k];
      // Five standard deviations of a binomial share; exact where p is 0 or 1.
      EXPECT_NEAR(counts[k], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)));
    }
  }
}

TEST(OneAStep, IsAFunctionOfSeedAndStep) {
  TrainSettings a, b;
  b.seed = 2;
  int same = 0;
  for (int step = 0; step < 1000; ++step) {
    EXPECT_EQ(drawn(a, step), drawn(a, step));
    same += drawn(a, step) == drawn(b, step) ? 1 : 0;
  }
  EXPECT_NEAR(same, 250, 5 * std::sqrt(1000 * 0.25 * 0.75));
}

TEST(JointSteps, TakeEveryGranularityThatWeighsSomething) {
  TrainSettings s;
  s.schedule = Schedule::kJoint;
  EXPECT_EQ(shares_of_step(s, 4, 0), (std::vector<Share>{{0, .25}, {1, .25}, {2, .25}, {3, .25}}));
  EXPECT_EQ(shares_of_step(s, 1, 9), (std::vector<Share>{{0, 1}}));
  s.weights = {1, 0, 0.5};
  EXPECT_EQ(shares_of_step(s, 3, 7), (std::vector<Share>{{0, 1}, {2, 0.5}}));
}

TEST(SandwichSteps, TakeTheEndsAndOneBetweenThem) {
  TrainSettings s;
  s.schedule = Schedule::kSandwich;
  EXPECT_EQ(shares_of_step(s, 1, 3), (std::vector<Share>{{0, 1}}));
  EXPECT_EQ(shares_of_step(s, 2, 3), (std::vector<Share>{{0, 0.5}, {1, 0.5}}));
  std::vector<int> between(5);
  constexpr int kDraws = 6000;
  for (int step = 0; step < kDraws; ++step) {
    const std::vector<Share> shares = shares_of_step(s, 5, step);
    ASSERT_EQ(shares.size(), 3u);
    EXPECT_EQ(shares.front(), (Share{0, 1.0 / 3}));
    EXPECT_EQ(shares.back(), (Share{4, 1.0 / 3}));
    ++between.at(shares[1].level);
  }
  for (const std::size_t level : {1u, 2u, 3u}) {
    EXPECT_NEAR(between[level], kDraws / 3, 5 * std::sqrt(kDraws * 2.0 / 9)) << level;
  }
  s.weights = {1, 0, 1, 0, 1};
  for (int step = 0; step < 50; ++step) EXPECT_EQ(shares_of_step(s, 5, step)[1].level, 2u);
}

TEST(ScheduleNames, AreReadAsWritten) {
  for (const Schedule schedule : {Schedule::kSampled, Schedule::kJoint, Schedule::kSandwich}) {
    EXPECT_EQ(parse_schedule(to_string(schedule)), schedule);
  }
  EXPECT_THROW(parse_schedule("all"), UsageError);
}

TEST(DrawStarts, APassVisitsEverySequenceOnceAndNoneTouches) {
  for (const std::uint64_t sequences : {2u, 3u, 17u, 64u, 1000u}) {
    TrainSettings s;
    s.context = 32;
    s.batch = 1;
    const std::uint64_t tokens = sequences * 32 + 1;
    std::set<std::uint64_t> starts;
    for (std::uint64_t step = 0; step < sequences - 1; ++step) {
      const auto drawn = draw_starts(s, tokens, static_cast<std::int64_t>(step), 0);
      ASSERT_EQ(drawn.size(), 1u);
      EXPECT_LE(drawn[0] + 32 + 1, tokens);
      starts.insert(drawn[0]);
    }
    EXPECT_EQ(starts.size(), sequences - 1);
    for (auto it = starts.begin(); it != starts.end() && std::next(it) != starts.end(); ++it) {
      EXPECT_EQ((*std::next(it) - *it) % 32, 0u);
    }
  }
}

TEST(DrawStarts, OrderIsShuffledAndDiffersBetweenPasses) {
  TrainSettings s;
  s.context = 8;
  s.batch = 500;
  const std::uint64_t tokens = 501 * 8 + 1;
  const auto first = draw_starts(s, tokens, 0, 0), second = draw_starts(s, tokens, 1, 0);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  EXPECT_NE(first, second);
}

TEST(DrawStarts, MicroBatchesOfAStepAreTheSequencesOfOneLargerBatch) {
  TrainSettings one, two;
  one.context = two.context = 16;
  one.batch = 6;
  two.batch = 3;
  two.accumulate = 2;
  for (int step = 0; step < 20; ++step) {
    auto joined = draw_starts(two, 5000, step, 0);
    const auto rest = draw_starts(two, 5000, step, 1);
    joined.insert(joined.end(), rest.begin(), rest.end());
    EXPECT_EQ(joined, draw_starts(one, 5000, step, 0));
  }
}

TEST(DrawStarts, OneSequenceIsAlwaysTheSame) {
  TrainSettings s;
  s.context = 16;
  s.batch = 3;
  EXPECT_EQ(draw_starts(s, 17, 5, 0), (std::vector<std::uint64_t>{0, 0, 0}));
}

TEST(CheckSettings, NamesWhatIsWrong) {
  struct Case {
    const char* says;
    void (*breaks)(TrainSettings&);
  };
  const Case cases[] = {
      {"--steps ", [](TrainSettings& s) { s.steps = 0; }},
      {"--batch ", [](TrainSettings& s) { s.batch = -1; }},
      {"--accumulate ", [](TrainSettings& s) { s.accumulate = 0; }},
      {"--context ", [](TrainSettings& s) { s.context = 0; }},
      {"--learning-rate ", [](TrainSettings& s) { s.learning_rate = std::nan(""); }},
      {"--min-rate ", [](TrainSettings& s) { s.min_rate = 1.5; }},
      {"--beta1 ", [](TrainSettings& s) { s.beta1 = 1; }},
      {"--beta2 ", [](TrainSettings& s) { s.beta2 = -0.1; }},
      {"--weight-decay ", [](TrainSettings& s) { s.weight_decay = -1; }},
      {"--warmup ", [](TrainSettings& s) { s.warmup = -1; }},
      {"--distil ", [](TrainSettings& s) { s.distil = 1.5; }},
      {"--temperature ", [](TrainSettings& s) { s.temperature = 0; }},
      {"--clip ", [](TrainSettings& s) { s.clip = 0; }},
      {"4 granularities",
       [](TrainSettings& s) {
         s.weights = {1, 1};
       }},
      {"4 granularities",
       [](TrainSettings& s) {
         s.weights = {0, 0, 0, 0};
       }},
      {"--weights ",
       [](TrainSettings& s) {
         s.weights = {1, -1, 1, 1};
       }},
      {"--label-smoothing ", [](TrainSettings& s) { s.label_smoothing = 1; }},
      {"--shift ", [](TrainSettings& s) { s.shift = -1; }},
      {"--erase ", [](TrainSettings& s) { s.erase = 1.5; }},
      {"--mixup ", [](TrainSettings& s) { s.mixup = 9; }},
      {"--mixup mixes pairs", [](TrainSettings& s) { s.mixup = 0.2, s.batch = 1; }},
      {"--loss sigmoid", [](TrainSettings& s) { s.loss = TargetLoss::kSigmoid, s.distil = 0.5; }},
      {"257", [](TrainSettings& s) { s.context = 256; }},
  };
  TrainSettings fine;
  fine.context = 99;
  const auto check = [](const TrainSettings& s) {
    check_settings(s, 4);
    require_a_sequence(s, 100);
  };
  check(fine);
  for (const Case& c : cases) {
    TrainSettings s = fine;
    c.breaks(s);
    try {
      check(s);
      ADD_FAILURE() << "accepted what should name " << c.says;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(c.says), std::string::npos) << error.what();
    }
  }
}

// A pass visits every image once, in another order than the one before; micro-batches follow each
// other; half of the images are mirrored, and shifts are as often one as another.
TEST(DrawImages, APassVisitsEveryImageOnce) {
  TrainSettings s;
  s.batch = 5;
  s.accumulate = 2;
  s.flip = true;
  s.shift = 2;
  constexpr std::int64_t kImages = 50;
  std::vector<DrawnImage> drawn;
  for (std::int64_t step = 0; step < 100; ++step) {
    for (std::int64_t micro = 0; micro < 2; ++micro) {
      for (const DrawnImage& image : draw_images(s, kImages, step, micro)) drawn.push_back(image);
    }
  }
  ASSERT_EQ(drawn.size(), 1000u);
  std::vector<std::vector<std::int64_t>> passes;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    if (i % kImages == 0) passes.emplace_back();
    passes.back().push_back(drawn[i].index);
  }
  for (std::vector<std::int64_t> pass : passes) {
    std::ranges::sort(pass);
    for (std::int64_t i = 0; i < kImages; ++i) EXPECT_EQ(pass[static_cast<std::size_t>(i)], i);
  }
  EXPECT_NE(passes[0], passes[1]);
  std::map<std::int64_t, int> downs, rights;
  int mirrored = 0;
  for (const DrawnImage& image : drawn) {
    mirrored += image.mirrored;
    ++downs[image.down];
    ++rights[image.right];
  }
  EXPECT_NEAR(mirrored, 500, 80);
  for (const auto* const moves : {&downs, &rights}) {
    ASSERT_EQ(moves->size(), 5u);
    for (const auto& [move, times] : *moves) {
      EXPECT_LE(std::abs(move), 2);
      EXPECT_NEAR(times, 200, 60);
    }
  }
  s.erase = 0.25;
  int erased = 0;
  double area = 0;
  for (std::int64_t step = 0; step < 100; ++step) {
    for (const DrawnImage& image : draw_images(s, kImages, step, 0)) {
      if (image.height == 0) continue;
      ++erased;
      area += image.height * image.width;
      EXPECT_GE(image.height * image.width, 0.02);
      EXPECT_LE(image.height * image.width, 0.3334);
      EXPECT_GE(image.height / image.width, 0.29);
      EXPECT_LE(image.height / image.width, 3.34);
      EXPECT_LE(image.top + image.height, 1);
      EXPECT_LE(image.left + image.width, 1);
    }
  }
  EXPECT_NEAR(erased, 125, 40);
  EXPECT_NEAR(area / erased, 0.17, 0.04);
  s.erase = 0;
  s.flip = false;
  s.shift = 0;
  for (const DrawnImage& image : draw_images(s, kImages, 3, 1)) {
    EXPECT_EQ(image, (DrawnImage{image.index, false, 0, 0}));
  }
}

// The shares of Beta(a, a) lie around a half, and the more at the ends the smaller a is: their
// variance is 1 / (8 a + 4).
TEST(OwnShare, IsOfTheBetaDistribution) {
  TrainSettings s;
  EXPECT_EQ(own_share(s, 3, 0), 1);
  for (const double a : {0.2, 1.0, 2.0}) {
    s.mixup = a;
    double sum = 0, squares = 0;
    constexpr int kSteps = 4000;
    for (int step = 0; step < kSteps; ++step) {
      const double share = own_share(s, step, 0);
      ASSERT_TRUE(share > 0 && share <= 1);
      EXPECT_EQ(share, own_share(s, step, 0));
      sum += share;
      squares += (share - 0.5) * (share - 0.5);
    }
    EXPECT_NEAR(sum / kSteps, 0.5, 0.03) << a;
    EXPECT_NEAR(squares / kSteps, 1 / (8 * a + 4), 0.1 / (8 * a + 4)) << a;
  }
  // Powers that are too small for a double: without their logarithms this would not end.
  for (const double a : {1e-9, 1e-300, std::numeric_limits<double>::denorm_min()}) {
    s.mixup = a;
    for (int step = 0; step < 100; ++step) EXPECT_EQ(own_share(s, step, 0), 1) << a;
  }
}

}  // namespace
}  // namespace mnm
