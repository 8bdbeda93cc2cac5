#include "export/runtimes.h"

#include <gtest/gtest.h>

namespace mnm {
namespace {

WidthSpace space_of(std::size_t layers, std::vector<Width> granularities, Width step) {
  LayerChoices choices;
  choices.granularities = std::move(granularities);
  choices.step = step;
  return {std::vector<LayerChoices>(layers, choices)};
}

RuntimeRule any() {
  RuntimeRule rule;
  rule.uniform_as = rule.mixed_as = "it";
  rule.why_not = "the reason";
  return rule;
}

TEST(RuntimeRule, RefusesWhatItSays) {
  RuntimeRule rule = any();
  EXPECT_FALSE(refusal_of(rule, {1, 2, 3}));
  rule.multiple = 32;
  EXPECT_FALSE(refusal_of(rule, {32, 64, kSkip}));
  EXPECT_EQ(refusal_of(rule, {32, 48, 64}),
            "layer 1 has the width 48, no multiple of 32: the reason");
  rule.mixed_as = "";
  EXPECT_FALSE(refusal_of(rule, {32, 32}));
  EXPECT_EQ(refusal_of(rule, {32, 64}), "layers of different widths: the reason");
  rule.mixed_as = "it";
  rule.uniform_as = "";
  EXPECT_EQ(refusal_of(rule, {32, 32}), "layers of one width: the reason");
  rule.refusal = "never";
  EXPECT_EQ(refusal_of(rule, {32, 64}), "never");
}

struct Case {
  const char* name;
  WidthSpace space;
  Widths widths;
  RuntimeRule rule;
  std::vector<Detour> expected;
};

TEST(Detours, AreTheNearestThatTheRuntimeLoads) {
  RuntimeRule uniform = any(), q8 = any(), blocks = any(), both = any(), never = any();
  uniform.mixed_as = "";
  q8.multiple = 32;
  blocks.multiple = 256;
  both.mixed_as = "";
  both.multiple = 256;
  never.refusal = "never";
  const std::vector<Width> matformer = {64, 128, 256, 512};
  const Case cases[] = {
      // 64 + 128 + 256 + 512 is 960, 240 a layer.
      {"any one width",
       space_of(4, matformer, 1),
       {64, 128, 256, 512},
       uniform,
       {{{128, 128, 128, 128}, false, true},
        {{240, 240, 240, 240}, false, false},
        {{256, 256, 256, 256}, true, true}}},
      {"a trained one alone",
       space_of(4, matformer, 0),
       {64, 128, 256, 512},
       uniform,
       {{{128, 128, 128, 128}, false, true}, {{256, 256, 256, 256}, true, true}}},
      {"the mean is no whole number",
       space_of(2, matformer, 1),
       {64, 65},
       uniform,
       {{{64, 64}, false, true}, {{65, 65}, true, false}, {{128, 128}, true, true}}},
      {"each layer by itself",
       space_of(3, matformer, 1),
       {100, 128, 500},
       q8,
       {{{64, 128, 256}, false, true},
        {{96, 128, 480}, false, false},
        {{128, 128, 512}, true, true}}},
      {"none below", space_of(2, matformer, 1), {64, 512}, blocks, {{{256, 512}, true, true}}},
      {"none above", space_of(2, {100, 300}, 1), {300, 300}, blocks, {{{256, 256}, false, false}}},
      {"none at all", space_of(2, {100, 200}, 1), {200, 200}, blocks, {}},
      {"one width, and a multiple",
       space_of(2, matformer, 1),
       {64, 512},
       both,
       {{{256, 256}, false, true}, {{512, 512}, true, true}}},
      {"steps that are no multiples",
       space_of(1, {512}, 48),
       {100},
       q8,
       {{{96}, false, false}, {{192}, true, false}, {{512}, true, true}}},
      {"a skipped layer stays",
       space_of(2, matformer, 1),
       {kSkip, 100},
       q8,
       {{{kSkip, 64}, false, true}, {{kSkip, 96}, false, false}, {{kSkip, 128}, true, true}}},
      {"never", space_of(2, matformer, 1), {64, 512}, never, {}},
  };
  for (const Case& c : cases) {
    const std::vector<Detour> found = detours(c.space, c.widths, c.rule);
    ASSERT_EQ(found.size(), c.expected.size()) << c.name;
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].widths, c.expected[i].widths) << c.name;
      EXPECT_EQ(found[i].up, c.expected[i].up) << c.name << " " << i;
      EXPECT_EQ(found[i].trained, c.expected[i].trained) << c.name << " " << i;
    }
  }
}

TEST(Detours, LayersThatTakeDifferentWidthsAgreeOnOne) {
  WidthSpace space = space_of(2, {64, 512}, 0);
  space.layers[1].granularities = {64, 128, 512};
  RuntimeRule uniform = any();
  uniform.mixed_as = "";
  const auto found = detours(space, {64, 512}, uniform);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].widths, (Widths{64, 64}));
  EXPECT_EQ(found[1].widths, (Widths{512, 512}));
}

}  // namespace
}  // namespace mnm
