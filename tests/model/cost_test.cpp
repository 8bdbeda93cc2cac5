#include "model/cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/quantity.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

bool same(const Cost& a, const Cost& b) {
  return a.params == b.params && a.non_embedding == b.non_embedding && a.bytes == b.bytes &&
         a.flops == b.flops && a.kv_bytes == b.kv_bytes && a.state_bytes == b.state_bytes &&
         a.memory == b.memory;
}

std::vector<Widths> every_widths(const WidthSpace& space) {
  std::vector<Widths> all = {{}};
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    std::vector<Widths> longer;
    for (const Widths& prefix : all) {
      for (Width width = 0; width <= space.layers[layer].full(); ++width) {
        if (!space.layers[layer].allows(width)) continue;
        longer.push_back(prefix);
        longer.back().push_back(width);
      }
    }
    all = std::move(longer);
  }
  return all;
}

// The formula of a Llama-style model, written out by hand, for every submodel.
TEST(Cost, PrefixModelByHand) {
  const std::int64_t d = 8, vocab = 11;
  for (const bool tied : {false, true}) {
    NestedModel model = test::prefix_model(3, d, {4, 16, 32}, vocab, tied);
    for (LayerChoices& layer : model.space.layers) layer.may_skip = true;
    for (const std::int64_t context : {1, 64, 1023}) {
      const CostBasis basis{Dtype::kF32, context};
      const CostTable table(model, basis);
      for (const Widths& widths : every_widths(model.space)) {
        std::int64_t params = vocab * d + d + (tied ? 0 : vocab * d);
        std::int64_t inner = d, kept = 0;
        double flops = 2.0 * static_cast<double>(vocab * d);  // the head, tied or not
        for (const Width width : widths) {
          if (width == kSkip) continue;
          ++kept;
          inner += d + d * d + 2 * width * d;
          params += d + d * d + 2 * width * d;
          flops += 2.0 * static_cast<double>(d * d + 2 * width * d) +
                   4.0 * static_cast<double>(d) * (static_cast<double>(context) + 1) / 2;
        }
        const Cost cost = cost_of(model, widths, basis);
        ASSERT_EQ(cost.params, params) << to_string(widths);
        ASSERT_EQ(cost.non_embedding, inner) << to_string(widths);
        ASSERT_EQ(cost.bytes, 4 * params) << to_string(widths);
        ASSERT_EQ(cost.flops, static_cast<std::int64_t>(flops)) << to_string(widths);
        ASSERT_EQ(cost.kv_bytes, 4 * 2 * d * kept) << to_string(widths);
        ASSERT_EQ(cost.state_bytes, 0);
        ASSERT_EQ(cost.memory, cost.bytes + context * cost.kv_bytes) << to_string(widths);
        ASSERT_TRUE(same(cost, table.of(widths))) << to_string(widths);
        ASSERT_TRUE(same(cost, cost_of(model, plan_slices(model.table, widths), basis)));
      }
    }
  }
}

// Widths between granularities, several pieces, and state instead of attention.
TEST(Cost, PiecesModelByHand) {
  const std::int64_t d = 8, head = 4, state = 3;
  const NestedModel model = test::pieces_model(2, d, head, state, {4, 8, 16});
  const CostBasis basis{Dtype::kBF16, 100};
  const CostTable table(model, basis);
  const auto all = every_widths(model.space);
  ASSERT_EQ(all.size(), 81u);  // skipped, or 2, 4, ... 16, in two layers
  for (const Widths& widths : all) {
    std::int64_t layers = 0, flops = 2 * 7 * d, states = 0;
    for (const Width width : widths) {
      if (width == kSkip) continue;
      const std::int64_t inner = 2 * width;
      const std::int64_t elements =
          (2 * inner + 2 * state + inner / head) * d + (inner + 2 * state) * 4 + inner * d;
      layers += elements;
      flops += 2 * elements + 6 * state * width;
      states += 2 * state * width;
    }
    const Cost cost = cost_of(model, widths, basis);
    ASSERT_EQ(cost.params, layers + 7 * d + d) << to_string(widths);
    ASSERT_EQ(cost.non_embedding, layers + d) << to_string(widths);
    ASSERT_EQ(cost.bytes, 2 * cost.params) << to_string(widths);
    ASSERT_EQ(cost.flops, flops) << to_string(widths);
    ASSERT_EQ(cost.kv_bytes, 0);
    ASSERT_EQ(cost.state_bytes, 2 * states) << to_string(widths);
    ASSERT_EQ(cost.memory, cost.bytes + cost.state_bytes) << to_string(widths);
    ASSERT_TRUE(same(cost, table.of(widths))) << to_string(widths);
  }
}

// Pieces of a tensor that belongs to no layer are paid for by their layers.
TEST(Cost, OfPiecesWithLayersOfTheirOwn) {
  NestedModel model = test::prefix_model(3, 8, {4});
  for (LayerChoices& layer : model.space.layers) layer.may_skip = true;
  TensorSpec& spec = model.table.tensors.emplace_back(test::cut("shared", {6, 7}, -1, 0, {}));
  spec.flops_per_element = 2.1;
  for (int layer = 0; layer < 3; ++layer) spec.pieces.push_back({2 * layer, 1, 1, 4, layer});
  const NestedModel without = test::prefix_model(3, 8, {4});
  const CostTable table(model, {});
  EXPECT_EQ(table.fixed().params, CostTable(without, {}).fixed().params);
  for (const Widths& widths : every_widths(model.space)) {
    const auto kept = static_cast<std::int64_t>(kept_widths(widths).size());
    const Cost cost = cost_of(model, widths), less = cost_of(without, widths);
    EXPECT_EQ(cost.params - less.params, 2 * 7 * kept) << to_string(widths);
    EXPECT_EQ(cost.non_embedding - less.non_embedding, 2 * 7 * kept) << to_string(widths);
    EXPECT_NEAR(static_cast<double>(cost.flops - less.flops), 2.1 * 14 * static_cast<double>(kept),
                1);
    EXPECT_TRUE(same(cost, table.of(widths))) << to_string(widths);
  }
}

// A layer with a window keeps no more than that of a sequence, however long it grows.
TEST(Cost, OfAWindowedLayer) {
  NestedModel model = test::prefix_model(3, 8, {4});
  model.mixing[1].window = 16;
  const Cost shorter = cost_of(model, {4, 4, 4}, {Dtype::kF32, 10});
  const Cost longer = cost_of(model, {4, 4, 4}, {Dtype::kF32, 100});
  for (const Cost& cost : {shorter, longer}) EXPECT_EQ(cost.kv_bytes, 4 * 2 * 16);
  EXPECT_EQ(shorter.state_bytes, 4 * 16 * 10);
  EXPECT_EQ(longer.state_bytes, 4 * 16 * 16);
  // 4 d per attended position: (100 + 1) / 2 of them in two layers, 14.8 in the other.
  const std::int64_t products = 2 * (3 * (64 + 2 * 4 * 8) + 11 * 8);
  EXPECT_EQ(longer.flops, products + std::llround(4 * 8 * (2 * 50.5 + 16 - 16 * 15 / 200.0)));
}

// Weights once, caches once for each sequence, at a length that is not that of the FLOPs.
TEST(Cost, MemoryIsOfTheSequencesThatAreHeld) {
  NestedModel model = test::prefix_model(3, 8, {4});
  model.mixing[1].window = 16;
  model.mixing[2].state_per_width = 5;
  model.mixing[2].state_per_sequence = 7;
  for (const std::int64_t context : {1, 16, 1000}) {
    for (const std::int64_t batch : {1, 3}) {
      const CostBasis basis{Dtype::kF32, 10, {context, batch}};
      const Cost cost = cost_of(model, {4, 4, 4}, basis);
      const std::int64_t held = 16 * (2 * context + std::min<std::int64_t>(context, 16)) + 20 + 7;
      EXPECT_EQ(cost.memory, cost.bytes + 4 * batch * held);
      EXPECT_EQ(cost.memory, CostTable(model, basis).of({4, 4, 4}).memory);
      EXPECT_EQ(cost.flops, cost_of(model, {4, 4, 4}, {Dtype::kF32, 10}).flops);
      EXPECT_EQ(cost.state_bytes, 4 * (16 * 10 + 27)) << "as the store counts it";
    }
  }
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(contains(error_of([&] {
                         cost_of(model, {4, 4, 4}, {Dtype::kF32, 10, {most, 1}});
                       }),
                       "64 bits"));
  EXPECT_TRUE(contains(error_of([&] {
                         cost_of(model, {4, 4, 4}, {Dtype::kF32, 10, {8, most}});
                       }),
                       "64 bits"));
}

TEST(Cost, TheTableEqualsThePlanEvenForOddFlops) {
  NestedModel model = test::prefix_model(5, 8, {3, 5, 7});
  for (TensorSpec& spec : model.table.tensors) spec.flops_per_element *= 0.1;
  for (LayerMixing& mixing : model.mixing) mixing.flops_per_width = 1.0 / 3;
  const CostTable table(model, {});
  for (const Widths& widths : every_widths(model.space)) {
    ASSERT_EQ(table.of(widths).flops, cost_of(model, widths).flops) << to_string(widths);
  }
}

TEST(Cost, OverflowIsAnErrorNotANumber) {
  for (const std::int64_t rows :
       {std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max()}) {
    NestedModel model = test::prefix_model(1, 8, {4});
    model.table.tensors[0].shape = {rows, 1};  // the bytes overflow
    EXPECT_TRUE(contains(error_of([&] { cost_of(model, {4}); }), "64 bits"));
    model.table.tensors[0].shape = {rows, 16};  // the elements do
    EXPECT_TRUE(contains(error_of([&] { cost_of(model, {4}); }), "2^63"));
    EXPECT_THROW(CostTable(model, {}), Error);
  }
}

TEST(Cost, Kinds) {
  const Cost cost{1, 2, 3, 4, 5, 6};
  EXPECT_EQ(cost.of(CostKind::kParams), 1);
  EXPECT_EQ(cost.of(CostKind::kNonEmbedding), 2);
  EXPECT_EQ(cost.of(CostKind::kBytes), 3);
  EXPECT_EQ(cost.of(CostKind::kFlops), 4);
  for (const CostKind kind : kCostKinds) EXPECT_EQ(parse_cost_kind(to_string(kind)), kind);
  EXPECT_TRUE(contains(test::usage_error_of([] { parse_cost_kind("param"); }), "'params'?"));
  EXPECT_TRUE(contains(test::usage_error_of([] { parse_cost_kind("zzz"); }), "non-embedding"));
}

TEST(Quantity, Parses) {
  const std::vector<std::pair<std::string, std::int64_t>> cases = {
      {"0", 0},
      {"1200000", 1'200'000},
      {"1.2M", 1'200'000},
      {"1.1M", 1'100'000},
      {"2.3m", 2'300'000},
      {"40B", 40'000'000'000},
      {"40G", 40'000'000'000},
      {"1.5GB", 1'500'000'000},
      {"200MiB", 200 << 20},
      {"1.5 KiB", 1536},
      {"3e9", 3'000'000'000},
      {"3e3K", 3'000'000},
      {".5k", 500},
      {"1kb", 1000},
      {"2T", 2'000'000'000'000},
      {"1TiB", std::int64_t{1} << 40},
      {"9007199254740993", 9007199254740993},
      {"9223372036854775807", 9223372036854775807},
      {"1.234567K", -1},
      {"1.234567M", 1'234'567},
  };
  for (const auto& [text, value] : cases) {
    if (value < 0) {
      EXPECT_THROW(parse_quantity(text), UsageError) << text;
    } else {
      EXPECT_EQ(parse_quantity(text), value) << text;
    }
  }
}

TEST(Quantity, RefusesEverythingElse) {
  for (const char* text :
       {"",          " ",     "M",   "-1",   "+1",   "1.5",   "1.2.3M", "1X",
        "1MM",       "1e",    "inf", "nan",  "0x10", "1e30",  "1e999",  "9223372036854775808",
        "10000000T", "1,000", "1 2", "1  K", "K1",   "1e-400"}) {
    const std::string error = test::usage_error_of([&] { parse_quantity(text); });
    EXPECT_TRUE(contains(error, "is no quantity")) << "'" << text << "': " << error;
  }
}

TEST(Quantity, Writes) {
  const std::vector<std::pair<double, std::string>> cases = {
      {0, "0"},     {1, "1"},           {999, "999"},         {999.4, "999"},   {999.6, "1K"},
      {1000, "1K"}, {1234567, "1.23M"}, {65536, "65.5K"},     {999499, "999K"}, {999500, "1M"},
      {1e9, "1G"},  {1.5e12, "1.5T"},   {-1234567, "-1.23M"}, {1e15, "1e+15"},  {12.34, "12.3"},
  };
  for (const auto& [value, text] : cases) EXPECT_EQ(quantity(value), text) << value;
  EXPECT_EQ(quantity(std::nan("")), "nan");
  EXPECT_EQ(quantity(INFINITY), "inf");
  // What is written can be read, within the three digits that are kept.
  for (double value = 1; value < 1e15; value *= 3) {
    const auto back = static_cast<double>(parse_quantity(quantity(value)));
    EXPECT_NEAR(back, value, 0.005 * value) << value;
  }
}

}  // namespace
}  // namespace mnm
