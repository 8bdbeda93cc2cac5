#include "heuristics/sweeps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace mnm {
namespace {

// 8 layers of MatMamba's kind: d 64 in steps of 4 from d/8 on; four of them were trained.
WidthSpace space_of(std::size_t layers, bool all_widths) {
  LayerChoices choices;
  choices.granularities = {8, 16, 32, 64};
  choices.step = 2;
  const WidthSpace space{.layers = std::vector<LayerChoices>(layers, choices)};
  return all_widths ? space.with_untrained(4) : space;
}

TEST(Sweeps, ConstantIsOneWidthInAllLayers) {
  for (const bool all : {false, true}) {
    std::vector<Widths> expected;
    for (Width width = 8; width <= 64; width += 4) {
      const bool trained = width == 8 || width == 16 || width == 32 || width == 64;
      if (all || trained) expected.push_back(Widths(8, width));
    }
    EXPECT_EQ(constant_schedule(space_of(8, all)), expected);
  }
}

TEST(Sweeps, LinearDecayFallsOneStepEverySoManyLayers) {
  const std::vector<Widths> all = linear_decay_schedule(space_of(8, true));
  // The authors' own: full width in the first layer, a step less in each one after.
  EXPECT_EQ(std::ranges::count(all, Widths{64, 60, 56, 52, 48, 44, 40, 36}), 1);
  EXPECT_EQ(std::ranges::count(all, Widths{64, 64, 64, 60, 60, 60, 56, 56}), 1);
  EXPECT_EQ(std::ranges::count(all, Widths{16, 12, 8, 8, 8, 8, 8, 8}), 1);
  EXPECT_EQ(all.front(), Widths(8, 8));
  EXPECT_EQ(all.back(), Widths(8, 64));
  std::set<Widths> expected;
  for (int top = 8; top <= 64; top += 4) {
    for (int run = 1; run <= 8; ++run) {
      Widths widths;
      for (int layer = 0; layer < 8; ++layer) widths.push_back(std::max(8, top - layer / run * 4));
      expected.insert(widths);
    }
  }
  EXPECT_EQ(std::set<Widths>(all.begin(), all.end()), expected);
  EXPECT_EQ(all.size(), expected.size());
}

TEST(Sweeps, SuffixesTakeTheOtherGranularity) {
  for (const bool all : {false, true}) {  // between granularities, whatever else is searched
    const WidthSpace space = space_of(5, all);
    std::set<Widths> falling, rising;
    for (const Width wide : {8, 16, 32, 64}) {
      for (const Width narrow : {8, 16, 32, 64}) {
        if (narrow >= wide) continue;
        for (int k = 0; k <= 5; ++k) {
          Widths down, up;
          for (int layer = 0; layer < 5; ++layer) {
            down.push_back(layer < 5 - k ? wide : narrow);
            up.push_back(layer < 5 - k ? narrow : wide);
          }
          falling.insert(down);
          rising.insert(up);
        }
      }
    }
    const auto set_of = [](const std::vector<Widths>& list) {
      std::set<Widths> set(list.begin(), list.end());
      EXPECT_EQ(set.size(), list.size()) << "a member twice";
      return set;
    };
    EXPECT_EQ(set_of(wide_to_narrow_schedule(space)), falling);
    EXPECT_EQ(set_of(narrow_to_wide_schedule(space)), rising);
  }
}

TEST(Sweeps, SmallSpacesHaveTheMembersThatThereAre) {
  LayerChoices one, two;
  one.granularities = {8};
  two.granularities = {8, 16};
  two.may_skip = true;
  const WidthSpace space{{one, two, one}};
  // The layers of one width stand for both levels.
  EXPECT_EQ(constant_schedule(space), (std::vector<Widths>{{8, 8, 8}, {8, 16, 8}}));
  EXPECT_EQ(linear_decay_schedule(space), (std::vector<Widths>{{8, 8, 8}, {8, 16, 8}}));
  EXPECT_EQ(wide_to_narrow_schedule(space), (std::vector<Widths>{{8, 16, 8}, {8, 8, 8}}));
  EXPECT_EQ(narrow_to_wide_schedule(space), (std::vector<Widths>{{8, 8, 8}, {8, 16, 8}}));
}

}  // namespace
}  // namespace mnm
