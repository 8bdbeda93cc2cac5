#include "model/width_space.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::usage_error_of;

WidthSpace space_of(std::size_t layers, const LayerChoices& choices) {
  return {std::vector<LayerChoices>(layers, choices)};
}

TEST(WidthSpace, AllowsExactlyItsWidths) {
  for (const Width step : {0, 16}) {
    for (const bool may_skip : {false, true}) {
      const LayerChoices layer{{24, 64, 128}, step, may_skip, ""};
      EXPECT_EQ(layer.full(), 128);
      for (Width width = -200; width <= 200; ++width) {
        const bool granular = width == 24 || width == 64 || width == 128;
        const bool stepped = step > 0 && width > 0 && width <= 128 && width % step == 0;
        const bool skipped = may_skip && width == kSkip;
        EXPECT_EQ(layer.allows(width), granular || stepped || skipped) << width << " " << step;
      }
    }
  }
}

TEST(WidthSpace, RefusalNamesTheLayerAndTheNearest) {
  const WidthSpace space = space_of(3, {{64, 128, 256}, 0, false, "it was not trained"});
  EXPECT_EQ(space.refusal({64, 256, 128}), std::nullopt);
  EXPECT_EQ(space.refusal({64, 100, 128}),
            "layer 1 may not have width 100 (it was not trained); nearest allowed: 64 and 128");
  EXPECT_TRUE(contains(*space.refusal({64, 64, 1}), "nearest allowed: 64"));
  EXPECT_TRUE(contains(*space.refusal({300, 64, 64}), "nearest allowed: 256"));
  EXPECT_TRUE(contains(*space.refusal({64, -64, 64}), "nearest allowed: 64"));
  EXPECT_TRUE(contains(*space.refusal({64, kSkip, 64}),
                       "layer 1 may not be skipped (it was not trained); none of the model's"));
  WidthSpace skipping = space_of(9, {{64}, 0, true, ""});
  for (const std::size_t stays : {0u, 1u, 7u}) skipping.layers[stays].may_skip = false;
  const Widths all(9, kSkip);
  EXPECT_EQ(skipping.refusal(all), "layer 0 may not be skipped; those that may: 2-6,8");
  EXPECT_TRUE(contains(*space.refusal({64, 64}), "name 2 layers, the model has 3"));
  EXPECT_TRUE(contains(test::usage_error_of([&] { space.require({64, 100, 128}); }), "layer 1"));
  space.require({64, 64, 64});
}

// By brute force over every width: what the message names is allowed, and nothing allowed is
// nearer.
TEST(WidthSpace, NearestIsNearest) {
  for (const LayerChoices& layer : {LayerChoices{{24, 64, 128}, 0, false, ""},
                                    {{24, 64, 128}, 16, false, ""},
                                    {{24, 64, 100}, 16, true, ""},
                                    {{7}, 0, false, ""}}) {
    const WidthSpace space{{layer}};
    for (Width width = -20; width <= 300; ++width) {
      if (width == kSkip || layer.allows(width)) continue;
      Width below = 0, above = 0;
      for (Width w = 1; w <= 300; ++w) {
        if (!layer.allows(w)) continue;
        if (w < width) below = w;
        if (w > width && above == 0) above = w;
      }
      std::string expected = below == 0 ? std::to_string(above) : std::to_string(below);
      if (below != 0 && above != 0) expected += " and " + std::to_string(above);
      const std::string text = *space.refusal({width});
      EXPECT_TRUE(text.ends_with("nearest allowed: " + expected)) << text << " / " << expected;
    }
  }
}

TEST(WidthSpace, CountsSubmodels) {
  const LayerChoices four{{1, 2, 3, 4}, 0, false, ""}, three{{1, 2}, 0, true, ""};
  const LayerChoices one{{9}, 0, false, ""};
  EXPECT_EQ(space_of(0, four).submodels_text(), "1");
  EXPECT_EQ(space_of(8, four).submodels(), 65536);
  EXPECT_EQ(space_of(8, four).submodels_text(), "65536");
  EXPECT_EQ((WidthSpace{{four, three, one}}).submodels_text(), "12");
  EXPECT_EQ(space_of(26, four).submodels(), 4503599627370496.0);  // 2^52
  EXPECT_EQ(space_of(80, four).submodels_text(), "4^80 = 1.46e+48");
  EXPECT_EQ(space_of(600, four).submodels_text(), "4^600 = 1.72e+361");
  WidthSpace mixed = space_of(40, four);
  mixed.layers.push_back(three);
  mixed.layers.push_back(one);
  EXPECT_EQ(mixed.submodels_text(), "3^1 * 4^40 = 3.63e+24");
}

TEST(WidthSpace, SearchesMayDrawFromUntrainedWidths) {
  const LayerChoices half_heads{{4, 8, 17}, 2, true, "heads are whole"},
      fixed{{4, 8}, 0, false, ""};
  const WidthSpace space = space_of(2, half_heads);
  const WidthSpace wider = space.with_untrained(4);
  EXPECT_EQ(wider.choices(1), (std::vector<Width>{kSkip, 4, 8, 12, 16, 17}));
  EXPECT_EQ(wider.submodels(), 36);
  EXPECT_EQ(wider.levels(), 3u);
  EXPECT_EQ(wider.uniform(1), (Widths{8, 8}));
  EXPECT_EQ(wider.with_untrained(6).choices(0), (std::vector<Width>{kSkip, 4, 6, 8, 12, 17}));
  EXPECT_EQ(space.with_untrained(2).choices(0),
            (std::vector<Width>{kSkip, 4, 6, 8, 10, 12, 14, 16, 17}));
  for (const Width width : wider.choices(0)) EXPECT_TRUE(wider.layers[0].allows(width));
  EXPECT_TRUE(contains(usage_error_of([&] { space.with_untrained(3); }), "choose a multiple of 2"));
  EXPECT_TRUE(contains(usage_error_of([&] { space.with_untrained(0); }), "heads are whole"));
  EXPECT_TRUE(contains(usage_error_of([&] { space_of(1, fixed).with_untrained(1); }),
                       "only its granularities"));
}

TEST(WidthSpace, UniformAndFull) {
  const WidthSpace space{{{{1, 2, 4}, 0, false, ""}, {{10, 20}, 0, true, ""}}};
  EXPECT_EQ(space.levels(), 3u);
  EXPECT_EQ(space.uniform(0), (Widths{1, 10}));
  EXPECT_EQ(space.uniform(1), (Widths{2, 10}));
  EXPECT_EQ(space.uniform(2), space.full());
  EXPECT_EQ(space.full(), (Widths{4, 20}));
  EXPECT_EQ(space.choices(0), (std::vector<Width>{1, 2, 4}));
  EXPECT_EQ(space.choices(1), (std::vector<Width>{kSkip, 10, 20}));
  EXPECT_EQ(WidthSpace{}.levels(), 0u);
  EXPECT_TRUE(WidthSpace{}.full().empty());
}

}  // namespace
}  // namespace mnm
