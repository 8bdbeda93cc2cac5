#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "heuristics/least_slope.h"
#include "heuristics/monotone.h"
#include "heuristics/uniform.h"

namespace mnm {
namespace {

// Granularities 10, 20, ... in layers of the same count.
WidthSpace space_of(std::size_t layers, std::size_t granularities) {
  LayerChoices choices;
  for (std::size_t i = 1; i <= granularities; ++i) {
    choices.granularities.push_back(static_cast<Width>(10 * i));
  }
  return {.layers = std::vector<LayerChoices>(layers, choices)};
}

// All submodels over the granularities, by counting.
std::vector<Widths> everything(const WidthSpace& space) {
  std::vector<Widths> all = {{}};
  for (const LayerChoices& layer : space.layers) {
    std::vector<Widths> longer;
    for (const Widths& prefix : all) {
      for (const Width width : layer.granularities) {
        longer.push_back(prefix);
        longer.back().push_back(width);
      }
    }
    all = longer;
  }
  return all;
}

struct Shape {
  std::size_t layers, granularities;
};
const Shape kShapes[] = {{1, 1}, {1, 4}, {2, 1}, {2, 2}, {3, 2}, {4, 3}, {5, 4}, {3, 6}};

TEST(Schedules, UniformIsEveryLevelInEveryLayer) {
  for (const auto [layers, granularities] : kShapes) {
    std::vector<Widths> expected;
    for (std::size_t k = 1; k <= granularities; ++k) {
      expected.push_back(Widths(layers, static_cast<Width>(10 * k)));
    }
    EXPECT_EQ(uniform_schedule(space_of(layers, granularities)), expected);
  }
}

TEST(Schedules, LeastSlopeIsWhatItsDefinitionPicksFromEverything) {
  for (const auto [layers, granularities] : kShapes) {
    const WidthSpace space = space_of(layers, granularities);
    std::set<Widths> expected;
    for (const Widths& widths : everything(space)) {
      if (std::ranges::is_sorted(widths) && widths.back() - widths.front() <= 10) {
        expected.insert(widths);
      }
    }
    const std::vector<Widths> members = least_slope_schedule(space);
    EXPECT_EQ(std::set<Widths>(members.begin(), members.end()), expected);
    EXPECT_EQ(members.size(), granularities + (granularities - 1) * (layers - 1));
    EXPECT_EQ(members.size(), least_slope_places(space));
    EXPECT_EQ(least_slope_member(space, members.size() - 1), members.back());
    for (std::size_t i = 1; i < members.size(); ++i) {  // a chain: each contains the one before
      for (std::size_t layer = 0; layer < layers; ++layer) {
        EXPECT_GE(members[i][layer], members[i - 1][layer]) << i << " " << layer;
      }
    }
  }
}

TEST(Schedules, MonotoneIsWhatItsDefinitionPicksFromEverythingInOrder) {
  for (const auto [layers, granularities] : kShapes) {
    const WidthSpace space = space_of(layers, granularities);
    std::vector<Widths> expected = everything(space);
    std::erase_if(expected, [](const Widths& widths) { return !std::ranges::is_sorted(widths); });
    EXPECT_EQ(monotone_schedule(space, 1000), expected);
    EXPECT_EQ(monotone_count(space), static_cast<double>(expected.size()));
  }
}

TEST(Schedules, MonotoneCountsKnownModels) {
  EXPECT_EQ(monotone_count(space_of(8, 4)), 165);
  EXPECT_EQ(monotone_count(space_of(16, 4)), 969);
  EXPECT_EQ(monotone_count(space_of(80, 4)), 91881);
  EXPECT_EQ(monotone_count(space_of(80, 8)), 5843355957.0);
}

TEST(Schedules, MonotoneRefusesMoreThanItsLimitAndNamesBoth) {
  EXPECT_EQ(monotone_schedule(space_of(8, 4), 165).size(), 165u);
  try {
    monotone_schedule(space_of(8, 4), 164);
    FAIL() << "164 is less than 165";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("165"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("164"), std::string::npos) << error.what();
  }
  EXPECT_THROW(monotone_schedule(space_of(1000, 16), 1'000'000), UsageError);
}

// Layers of different granularities go by level, counted from the widest; skips are left alone.
TEST(Schedules, LevelsAreEachLayersOwn) {
  WidthSpace space;
  space.layers.resize(2);
  space.layers[0].granularities = {8, 16, 32};
  space.layers[1].granularities = {3, 5};
  space.layers[1].may_skip = true;
  EXPECT_EQ(uniform_schedule(space), (std::vector<Widths>{{8, 3}, {16, 3}, {32, 5}}));
  EXPECT_EQ(least_slope_schedule(space), (std::vector<Widths>{{8, 3}, {16, 3}, {16, 5}, {32, 5}}));
  EXPECT_EQ(monotone_schedule(space, 5),
            (std::vector<Widths>{{8, 3}, {8, 5}, {16, 3}, {16, 5}, {32, 5}}));
}

// By what a level is, for lists of many lengths, one of a single width among them.
TEST(Schedules, TheWidestOfEveryLayerIsAMemberWhateverTheLists) {
  for (const std::vector<std::size_t>& counts : std::vector<std::vector<std::size_t>>{
           {1, 3}, {3, 1}, {3, 1, 3}, {2, 4, 1, 3}, {4, 4, 1}, {1, 1}, {2, 3, 3, 2}}) {
    WidthSpace space;
    std::size_t most = 0;
    for (const std::size_t count : counts) {
      space.layers.push_back(space_of(1, count).layers.front());
      most = std::max(most, count);
    }
    // Which levels a width may be of: the narrowest of all below the second.
    std::vector<Widths> monotone = everything(space);
    std::erase_if(monotone, [&](const Widths& widths) {
      std::size_t reached = 0;
      for (std::size_t layer = 0; layer < widths.size(); ++layer) {
        const std::size_t rank = static_cast<std::size_t>(widths[layer]) / 10 - 1;
        const std::size_t highest = most - counts[layer] + rank;
        if (rank > 0) reached = std::max(reached, highest);
        if (reached > highest) return true;
      }
      return false;
    });
    EXPECT_EQ(monotone_schedule(space, 1000), monotone);
    EXPECT_EQ(monotone_count(space), static_cast<double>(monotone.size()));
    for (const auto& members : {uniform_schedule(space), least_slope_schedule(space), monotone}) {
      EXPECT_EQ(members.back(), space.full());
      EXPECT_EQ(std::set<Widths>(members.begin(), members.end()).size(), members.size());
      for (const Widths& widths : members) {
        EXPECT_TRUE(std::ranges::binary_search(monotone, widths)) << to_string(widths);
      }
    }
    EXPECT_EQ(uniform_schedule(space).size(), most);
  }
}

}  // namespace
}  // namespace mnm
