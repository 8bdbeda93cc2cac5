#include "families/may_skip.h"

#include <gtest/gtest.h>

#include "families/family.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_llama.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::usage_error_of;

std::vector<std::size_t> skippable(const WidthSpace& space) {
  std::vector<std::size_t> layers;
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) {
    if (space.layers[layer].may_skip) layers.push_back(layer);
  }
  return layers;
}

WidthSpace space_of(std::size_t layers) {
  return {std::vector<LayerChoices>(layers, {{8, 16}, 1, false, ""})};
}

std::vector<std::size_t> allowed(const nlohmann::json& config, std::string_view said) {
  WidthSpace space = space_of(10);
  allow_skips(config, said, space);
  return skippable(space);
}

TEST(MaySkip, ReadsLayersAndRanges) {
  using Layers = std::vector<std::size_t>;
  EXPECT_EQ(parse_layers("2-6,8"), (Layers{2, 3, 4, 5, 6, 8}));
  EXPECT_EQ(parse_layers("0"), (Layers{0}));
  EXPECT_EQ(parse_layers("5,1-2,2-3"), (Layers{1, 2, 3, 5}));
  for (const char* text : {"", ",", "1,", "-3", "3-", "6-2", "a", "1.5", "2--4", "70000", "+1"}) {
    EXPECT_TRUE(contains(usage_error_of([&] { parse_layers(text); }), "2-6,8")) << text;
  }
}

TEST(MaySkip, ComesFromTheUserOrTheConfig) {
  using Layers = std::vector<std::size_t>;
  const nlohmann::json stated = {{kMaySkipKey, {4, 2, 2}}}, silent = nlohmann::json::object();
  EXPECT_EQ(allowed(silent, ""), Layers{});
  EXPECT_EQ(allowed(stated, ""), (Layers{2, 4}));
  EXPECT_EQ(allowed(silent, "1"), (Layers{1}));
  EXPECT_EQ(allowed(stated, "7-8"), (Layers{7, 8}));
  EXPECT_TRUE(contains(usage_error_of([&] { allowed(silent, "10"); }), "no layer 10"));
  WidthSpace kept = space_of(3);
  const std::vector<std::string> why_kept = {"", "others read it", ""};
  EXPECT_TRUE(contains(usage_error_of([&] { allow_skips(silent, "0-1", kept, why_kept); }),
                       "layer 1 always stays: others read it"));
  kept.layers[1].why_not = "it keeps its neurons, and others read it";
  allow_skips(silent, "0", kept, why_kept);
  EXPECT_EQ(*kept.refusal({8, kSkip, 8}),
            "layer 1 may not be skipped (it keeps its neurons, and others read it); those that "
            "may: 0");
  EXPECT_TRUE(contains(usage_error_of([&] { allowed(silent, "0-9"); }), "one at least must stay"));
  for (const nlohmann::json& list :
       {nlohmann::json("2-3"), nlohmann::json({2.5}), nlohmann::json({-1}), nlohmann::json({10}),
        nlohmann::json({0, 1, 2, 3, 4, 5, 6, 7, 8, 9})}) {
    EXPECT_TRUE(contains(error_of([&] {
                           allowed({{kMaySkipKey, list}}, "");
                         }),
                         kMaySkipKey))
        << list;
  }
}

// Of both families: what may be skipped is opened, kept by a submodel of fewer layers under its new
// numbers, and forgotten where none is left.
TEST(MaySkip, SubmodelsStateTheirOwn) {
  test::TinyLlama llama;
  test::TinyMamba2 mamba2;
  llama.layers = mamba2.layers = 5;
  const std::pair<const char*, nlohmann::json> models[] = {{"llama", llama.config()},
                                                           {"mamba2", mamba2.config()}};
  for (auto [name, config] : models) {
    SCOPED_TRACE(name);
    config[kMaySkipKey] = {1, 2, 4};
    const Family& family = family_named(name);
    const NestedModel model = family.describe(config, {});
    EXPECT_EQ(skippable(model.space), (std::vector<std::size_t>{1, 2, 4}));
    EXPECT_EQ(skippable(family.describe(config, {.may_skip = "0"}).space),
              (std::vector<std::size_t>{0}));
    EXPECT_THROW(family.huggingface_config(model, {kSkip, 8, 8, 8, 8}, Dtype::kF32), UsageError);
    const Widths widths = {8, kSkip, 8, 8, 4};
    const NestedModel submodel = family.submodel(model, widths, Dtype::kF32);
    EXPECT_EQ(submodel.layers(), 4u);
    EXPECT_EQ(submodel.space.full(), kept_widths(widths));
    EXPECT_EQ(skippable(submodel.space), (std::vector<std::size_t>{1, 3}));
    const nlohmann::json rest =
        family.huggingface_config(model, {8, kSkip, kSkip, 8, kSkip}, Dtype::kF32);
    EXPECT_EQ(rest["num_hidden_layers"], 2);
    EXPECT_FALSE(rest.contains(kMaySkipKey));
    // Of fewer layers nothing is said.
    EXPECT_EQ(skippable(family.describe(family.with_layers(config, 3), {}).space),
              std::vector<std::size_t>{});
  }
}

}  // namespace
}  // namespace mnm
