#include "eval/tiling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

PrefixTree random_plan(std::size_t n, std::size_t layers, unsigned widths, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Widths> all(n, Widths(layers));
  for (Widths& candidate : all) {
    for (Width& width : candidate) width = static_cast<Width>(1 + random() % widths);
  }
  return make_prefix_tree(all);
}

TilingOptions ample() { return {.context = 64, .sequences = 100, .memory = 1u << 30}; }

TEST(Tiling, SequencesFillTheRowsAndNodesOnlyWhatIsLeft) {
  const NestedModel model = test::prefix_model(4, 8, {1, 2, 3, 4});
  const PrefixTree plan = random_plan(500, 4, 4, 1);
  struct Case {
    std::int64_t context, sequences, rows, expected_sequences, expected_parents;
  };
  const Case cases[] = {{64, 100, 1024, 16, 1}, {256, 64, 1024, 4, 1}, {256, 2, 1024, 2, 2},
                        {1, 3, 1024, 3, 341},   {2048, 9, 1024, 1, 1}, {300, 9, 1024, 3, 1},
                        {256, 1, 1024, 1, 4}};
  for (const Case& c : cases) {
    TilingOptions options = ample();
    options.context = c.context;
    options.sequences = c.sequences;
    options.rows = c.rows;
    const Tiling tiling = tile(plan, model, options);
    EXPECT_EQ(tiling.sequences, c.expected_sequences);
    EXPECT_EQ(tiling.parents, c.expected_parents);
    EXPECT_LE(tiling.bytes, options.memory);
  }
}

TEST(Tiling, StepsTakeEveryChildOnceAndNoMoreThanTheTilingAllows) {
  const PrefixTree plan = random_plan(500, 4, 4, 1);
  for (const Children& level : plan.levels) {
    for (const std::int64_t parents : {1, 3, 1000}) {
      for (const std::int64_t children : {1, 2, 3, 7, 5000}) {
        Tiling tiling;
        tiling.parents = parents, tiling.children = children;
        const std::int64_t first = level.parents() / 3, last = level.parents();
        std::int64_t node = level.begin_of(first);
        std::vector<Width> taken;
        for (const TreeStep& step : steps_of(level, first, last, tiling)) {
          EXPECT_EQ(step.begin, node);
          node = step.end;
          EXPECT_LE(step.parents(), parents);
          EXPECT_LE(step.nodes(), children);
          if (step.parents() > 1) {  // then they have all of their children
            EXPECT_EQ(step.begin, level.begin_of(step.first));
            EXPECT_EQ(step.end, level.begin_of(step.last));
          }
          const Children part = level.of(step);
          EXPECT_EQ(part.parents(), step.parents());
          for (std::int64_t p = 0; p < part.parents(); ++p) {
            const std::span<const Width> some = part.of(p), all = level.of(step.first + p);
            EXPECT_FALSE(some.empty());
            EXPECT_NE(std::search(all.begin(), all.end(), some.begin(), some.end()), all.end());
          }
          taken.insert(taken.end(), part.widths.begin(), part.widths.end());
        }
        EXPECT_EQ(node, level.nodes());
        EXPECT_TRUE(std::ranges::equal(
            taken,
            std::span(level.widths).subspan(static_cast<std::size_t>(level.begin_of(first)))));
      }
    }
  }
}

// Children alive at once, by walking the plan as the evaluator does.
std::int64_t alive(const PrefixTree& plan, const Tiling& tiling, std::size_t level,
                   std::int64_t first_parent, std::int64_t last_parent) {
  std::int64_t most = 0;
  for (const TreeStep& step : steps_of(plan.levels[level], first_parent, last_parent, tiling)) {
    const std::int64_t below =
        level + 1 < plan.levels.size() ? alive(plan, tiling, level + 1, step.begin, step.end) : 0;
    most = std::max(most, step.nodes() + below);
  }
  return most;
}

TEST(Tiling, TheBoundCoversWhatAWalkKeepsAlive) {
  const NestedModel model = test::prefix_model(4, 8, {1, 2, 3, 4});
  for (unsigned seed = 0; seed < 12; ++seed) {
    const PrefixTree plan = random_plan(1 + seed * 11, 4, 1 + seed % 5, seed);
    TilingOptions options = ample();
    options.sequences = 1 + seed % 4;
    for (options.memory = 1u << 20;; options.memory = options.memory * 3 / 4) {
      Tiling tiling;
      const std::string refused = test::error_of([&] { tiling = tile(plan, model, options); });
      if (!refused.empty()) {
        EXPECT_TRUE(test::contains(refused, "one sequence of 64 tokens")) << refused;
        break;
      }
      ASSERT_GE(std::min({tiling.sequences, tiling.parents, tiling.children, tiling.logits.rows}),
                1);
      const auto rows = static_cast<std::uint64_t>(tiling.sequences * options.context);
      const auto nodes = static_cast<std::uint64_t>(alive(plan, tiling, 0, 0, 1));
      EXPECT_GE(tiling.bytes, rows * (1 + nodes) * 8 * 4);
      EXPECT_LE(tiling.bytes, options.memory);
    }
  }
}

TEST(Tiling, WhatProductsTakeBesideIsInTheBound) {
  const NestedModel model = test::prefix_model(4, 8, {1, 2, 3, 4});
  const PrefixTree plan = random_plan(50, 4, 4, 1);
  TilingOptions options = ample();
  const Tiling without = tile(plan, model, options);
  options.product_bytes = 12345;
  EXPECT_EQ(tile(plan, model, options).bytes, without.bytes + 12345);
  options.memory = without.bytes;  // less is left for the rest
  EXPECT_LT(tile(plan, model, options).logits.rows, without.logits.rows);
  options.product_bytes = options.memory;
  EXPECT_NE(test::error_of([&] { tile(plan, model, options); }), "");
}

TEST(Tiling, WhatIsLeftKeepsTheReference) {
  const NestedModel model = test::prefix_model(4, 8, {1, 2, 3, 4}, 5000);
  const PrefixTree plan = random_plan(200, 4, 4, 3);
  for (const std::int64_t words : {0, 512}) {
    TilingOptions options = ample();
    options.context = 20, options.sequences = 70, options.rows = 4096, options.words = words;
    EXPECT_EQ(tile(plan, model, options).logits.kept, 0u) << "there is none";
    options.reference = true;
    const Tiling roomy = tile(plan, model, options);
    EXPECT_GE(roomy.logits.kept, 70u * 20 * 5000 * 4) << "all of it";
    EXPECT_LE(roomy.logits.kept, 70u * 20 * 5000 * 4 + (2u << 20)) << "and a chunk at most";
    options.memory = roomy.bytes - 100'000;
    const Tiling less = tile(plan, model, options);
    EXPECT_EQ(less.logits.kept, roomy.logits.kept - 100'000) << "before anything else shrinks";
    EXPECT_EQ(less.sequences, roomy.sequences);
    for (; options.memory > 600'000; options.memory -= 50'000) {
      EXPECT_LE(tile(plan, model, options).bytes, options.memory);
    }
  }
}

TEST(Tiling, LessMemoryNeverMeansLargerTiles) {
  const NestedModel model = test::prefix_model(4, 8, {1, 2, 3, 4}, 5000);
  const PrefixTree plan = random_plan(200, 4, 4, 3);
  TilingOptions options = ample();
  options.context = 20;
  options.sequences = 7;
  Tiling last = tile(plan, model, options);
  for (options.memory = 1u << 22; options.memory > 600'000; options.memory -= 50'000) {
    const Tiling tiling = tile(plan, model, options);
    EXPECT_LE(tiling.parents, last.parents);
    EXPECT_LE(tiling.logits.rows, last.logits.rows);
    EXPECT_LE(tiling.sequences, last.sequences);
    EXPECT_LE(tiling.bytes, options.memory);
    last = tiling;
  }
  EXPECT_LT(last.logits.rows, 52);
}

}  // namespace
}  // namespace mnm
