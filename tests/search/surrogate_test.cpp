#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "tests/search/problems.h"
#include "tests/search/table.h"

namespace mnm {
namespace {

using namespace test;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

SearchProblem eight_layers() {
  return {.space = four_widths(8), .cost = total_width, .limits = {}};
}

TEST(Surrogate, StartsFromADesignedSet) {
  const SearchProblem problem = eight_layers();
  for (const std::uint64_t seed : {1u, 2u}) {
    const auto surrogate = make_strategy("surrogate", problem, {.seed = seed});
    const std::vector<Widths> first = surrogate->ask(1000);
    ASSERT_EQ(first.size(), 20u);
    for (const Width width : kWidths) {
      EXPECT_NE(std::ranges::find(first, Widths(8, width)), first.end()) << width;
    }
    EXPECT_NE(std::ranges::find(first, Widths{64, 64, 64, 64, 128, 128, 128, 128}), first.end());
    EXPECT_NE(std::ranges::find(first, Widths{512, 512, 512, 512, 256, 256, 256, 256}),
              first.end());
    // E(s^2), summed: with ten random halves beside the six fixed ones it is 816 or more, and 1,400
    // on average.
    int together = 0;
    for (std::size_t a = 0; a < 8; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        int sum = 0;
        for (const Widths& widths : first) {
          const double mean = total_width(widths) / 8;
          if (std::ranges::count(widths, widths[0]) == 8) continue;
          sum += (widths[a] > mean) == (widths[b] > mean) ? 1 : -1;
        }
        together += sum * sum;
      }
    }
    EXPECT_LE(together, 760) << "seed " << seed;
  }
}

// On every landscape: with a tenth of the evaluations, as much as NSGA-II.
TEST(Surrogate, StartsFromWhatSensitivityScored) {
  const SearchProblem problem = eight_layers();
  const StrategySettings settings = {.seed = 3, .max_evaluations = 100, .from_sensitivity = true};
  const auto additive = make_strategy("sensitivity", problem, settings)->ask(1000);
  const auto surrogate = make_strategy("surrogate", problem, settings);
  const std::vector<Widths> first = surrogate->ask(1000);
  EXPECT_GT(first.size(), additive.size());
  for (const Widths& widths : additive) {
    EXPECT_EQ(std::ranges::count(first, widths), 1) << to_string(widths);
  }
  for (const Width width : kWidths) EXPECT_EQ(std::ranges::count(first, Widths(8, width)), 1);
  // Of fewer evaluations than these, as many are asked for.
  const auto few = make_strategy("surrogate", problem,
                                 {.seed = 3, .max_evaluations = 15, .from_sensitivity = true});
  EXPECT_EQ(few->ask(1000).size(), 15u);
}

TEST(Surrogate, FindsTheFrontsOfSyntheticTables) {
  for (const Landscape& landscape : landscapes()) {
    const LossTable table(synthetic_losses(landscape, 8));
    const LossTable::Exhaustive all = table.exhaustive();
    const double found = table.share_found("surrogate", all, {.seed = 1, .max_evaluations = 130});
    EXPECT_GE(found, 0.985) << landscape.name;
    EXPECT_GE(found,
              table.share_found("evolution", all, {.seed = 1, .max_evaluations = 390}) - 0.002)
        << landscape.name;
  }
}

// 35 layers: a space that cannot be listed.
TEST(Surrogate, BeatsEvolutionWhereNothingCanBeListed) {
  for (const double budget : {1e9, 35 * 192.0}) {
    const SearchProblem problem{
        .space = four_widths(35), .cost = total_width, .limits = {{"width", budget, total_width}}};
    const auto loss = [](const Widths& widths) {
      double sum = 0, before = 0;
      for (std::size_t l = 0; l < widths.size(); ++l) {
        const double weight = 1 + static_cast<double>(l * 7 % 5);
        sum += weight * 64 / widths[l] + (before > widths[l] ? 0.2 : 0.0);
        before = widths[l];
      }
      return sum;
    };
    const auto area = [&](std::string_view name, std::uint64_t evaluations) {
      const auto search = make_strategy(name, problem, {.max_evaluations = evaluations});
      std::vector<Point> found;
      while (!search->finished()) {
        for (const Widths& widths : search->ask(search->preferred_batch())) {
          found.push_back({total_width(widths), loss(widths)});
          search->tell(widths, found.back());
        }
      }
      return hypervolume(found, {35 * 512.0, loss(problem.narrowest())});
    };
    EXPECT_GT(area("surrogate", 100), area("evolution", 1000)) << budget;
  }
}

// Whole runs whose losses say little or nothing of the front: every candidate is still asked.
TEST(Surrogate, TakesWhateverItIsTold) {
  const SearchProblem problem = eight_layers();
  for (const auto& loss : std::vector<double (*)(const Widths&, std::size_t)>{
           [](const Widths&, std::size_t) { return 1.0; },
           [](const Widths&, std::size_t) { return kNan; },
           [](const Widths&w, std::size_t i) { return i == 3 ? 1e30 : plain_loss(w); },
           [](const Widths&w, std::size_t i) { return i == 30 ? -1e30 : plain_loss(w); },
           [](const Widths&w, std::size_t i) { return i == 30 ? 1e300 : plain_loss(w) * 1e-300; },
           [](const Widths&w, std::size_t i) { return i % 2 ? kNan : plain_loss(w); },
           [](const Widths&, std::size_t i) { return i == 5 ? 2.0 : 1.0; }}) {
    const auto surrogate = make_strategy("surrogate", problem, {.max_evaluations = 60});
    std::size_t told = 0;
    while (!surrogate->finished()) {
      const std::vector<Widths> batch = surrogate->ask(surrogate->preferred_batch());
      ASSERT_FALSE(batch.empty());
      for (const Widths& widths : batch) {
        surrogate->tell(widths, {total_width(widths), loss(widths, told++)});
      }
    }
    EXPECT_EQ(told, 60u);
    for (const Belief& belief : surrogate->believed_front()) {
      EXPECT_TRUE(std::isfinite(belief.loss) && std::isfinite(belief.deviation));
    }
  }
}

// With noise that is known, the front that is believed is better than the front of what was told.
TEST(Surrogate, BelievesMoreThanNoisyResultsSay) {
  const LossTable table(synthetic_losses(landscapes().front(), 8));
  const LossTable::Exhaustive all = table.exhaustive();
  double believed = 0, taken = 0;
  double off_believed = 0, off_told = 0;  // sums of squares, of each result
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    Random random(seed);
    const auto surrogate =
        make_strategy("surrogate", all.problem, {.seed = seed, .max_evaluations = 100});
    std::vector<Widths> asked;
    std::vector<Point> told;
    while (!surrogate->finished()) {
      for (const Widths& widths : surrogate->ask(surrogate->preferred_batch())) {
        asked.push_back(widths);
        told.push_back({total_width(widths), table.at(widths).loss + 0.005 * spread(random)});
        surrogate->tell(widths, told.back(), 0.005);
      }
    }
    std::vector<Point> named, lucky;
    for (const Belief& belief : surrogate->believed_front()) {
      named.push_back(table.at(belief.widths));
      EXPECT_LT(belief.deviation, 0.006);
    }
    const std::vector<Belief> results = surrogate->believed_results();
    ASSERT_EQ(results.size(), asked.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(results[i].widths, asked[i]);
      const double truth = table.at(asked[i]).loss;
      off_believed += (results[i].loss - truth) * (results[i].loss - truth);
      off_told += (told[i].loss - truth) * (told[i].loss - truth);
    }
    for (const std::size_t i : front_of(told)) lucky.push_back(table.at(asked[i]));
    believed += hypervolume(named, all.reference);
    taken += hypervolume(lucky, all.reference);
  }
  EXPECT_GT(believed, taken);
  EXPECT_LT(off_believed, 0.5 * off_told);
}

TEST(Surrogate, RefusesNoiseThatIsNone) {
  for (const double noise : {-1.0, kNan}) {
    const auto surrogate = make_strategy("surrogate", eight_layers(), {});
    const Widths widths = surrogate->ask(1).front();
    EXPECT_THROW(surrogate->tell(widths, {1, 1}, noise), Error);
  }
}

}  // namespace
}  // namespace mnm
