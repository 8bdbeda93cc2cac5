#include "families/vit/vit.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "eval/prefix_tree.h"
#include "families/vit/vit_config.h"
#include "model/cost.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_vit.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::tiny_vit;

nlohmann::json base(std::int64_t hidden, std::int64_t layers, std::int64_t heads,
                    std::int64_t image) {
  nlohmann::json names;
  for (int i = 0; i < 1000; ++i) names[std::to_string(i)] = "class";
  return {{"model_type", "vit"},
          {"hidden_size", hidden},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"intermediate_size", 4 * hidden},
          {"image_size", image},
          {"patch_size", 16},
          {"id2label", names}};
}

// MatViT's published models, at d_ff / 8, / 4, / 2 and the whole: parameters of the whole model, as
// shapes of ViT-B/16 and L/16 give them.
TEST(Vit, CountsTheParametersOfMatViT) {
  const auto millions = [](const nlohmann::json& config) {
    const NestedModel model = describe_vit(config, {.granularities = "1/8,1/4,1/2,1"});
    std::vector<double> counts;
    for (std::size_t level = 0; level < 4; ++level) {
      counts.push_back(static_cast<double>(cost_of(model, model.space.uniform(level)).params) /
                       1e6);
    }
    return counts;
  };
  const std::vector<double> b16 = millions(base(768, 12, 12, 224));
  const std::vector<double> l16 = millions(base(1024, 24, 16, 384));
  const double expected_b16[] = {36.99, 44.07, 58.24, 86.57};
  const double expected_l16[] = {128.5, 153.6, 204.0, 304.7};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(b16[i], expected_b16[i], 0.005);
    EXPECT_NEAR(l16[i], expected_l16[i], 0.05);
  }
}

// Counted by hand for one image: products of all tokens in all layers but the last, where only key
// and value are of all.
TEST(Vit, CountsTheFlopsOfAnImage) {
  const NestedModel model = describe_vit(tiny_vit(), {});
  const double tokens = 10, d = 24, w = 40, classes = 4;
  const double attention = 4 * tokens * tokens * d;
  const double layer = 2 * tokens * (4 * d * d + 2 * d * w) + attention;
  const double last = 2 * tokens * 2 * d * d + 2 * (2 * d * d + 2 * d * w) + attention / tokens;
  const double ends = 2 * (tokens - 1) * d * 48 + 2 * d * classes;
  const Cost cost = cost_of(model, model.space.full());
  EXPECT_NEAR(static_cast<double>(cost.flops), 2 * layer + last + ends, 1);
  EXPECT_EQ(cost.kv_bytes, 0);
  // Whatever context somebody asks for: an image has as many positions as it has.
  EXPECT_EQ(cost_of(model, model.space.full(), {Dtype::kF32, 4}).flops, cost.flops);
  EXPECT_EQ(CostTable(model, {Dtype::kF32, 4}).of(model.space.full()).flops, cost.flops);
  // Where the last layer may be left out, it computes all tokens.
  const NestedModel skipping = describe_vit(tiny_vit({{"mixnmatch_may_skip", {2}}}), {});
  EXPECT_NEAR(static_cast<double>(cost_of(skipping, skipping.space.full()).flops), 3 * layer + ends,
              1);
}

// The product with the patches is taken once for all candidates, the head's once for each.
TEST(Vit, APlanEmbedsAnImageOnce) {
  const NestedModel model = describe_vit(tiny_vit(), {});
  const std::vector<Widths> candidates = {{8, 8, 8}, {8, 8, 40}, {40, 16, 8}};
  const PlanCost plan = cost_of(make_prefix_tree(candidates), model, model.max_context);
  double alone = 0;
  for (const Widths& widths : candidates) {
    alone += static_cast<double>(cost_of(model, widths).flops);
  }
  EXPECT_NEAR(plan.one_by_one * 10, alone, 3);
  EXPECT_NEAR(plan.embedding * 10, 2.0 * 9 * 24 * 48, 1e-6);
  EXPECT_NEAR(plan.readout * 10, 3 * 2.0 * 24 * 4, 1e-6);
  const std::vector<Widths> one = {{8, 8, 8}};
  const PlanCost first = cost_of(make_prefix_tree(one), model, model.max_context);
  EXPECT_NEAR(first.shared, first.one_by_one, 1e-6);
  EXPECT_EQ(first.embedding, plan.embedding);
}

TEST(Vit, AWidthCutsTheMlpAlone) {
  const NestedModel model = describe_vit(tiny_vit(), {});
  int cut = 0;
  for (const TensorSpec& spec : model.table.tensors) cut += spec.cut_dim >= 0;
  EXPECT_EQ(cut, 3 * 3);
  const TensorSpec* const bias = model.table.find("vit.encoder.layer.1.intermediate.dense.bias");
  ASSERT_NE(bias, nullptr);
  EXPECT_EQ(bias->elements_of(1, 16), 16);
  const TensorSpec* const down = model.table.find("vit.encoder.layer.1.output.dense.bias");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->elements_of(1, 16), 24);
}

TEST(VitConfig, HasTransformersDefaults) {
  nlohmann::json json = tiny_vit();
  for (const char* key : {"image_size", "patch_size", "num_channels", "id2label"}) json.erase(key);
  const VitConfig config = parse_vit_config(json, {});
  EXPECT_EQ(config.positions(), 197);
  EXPECT_EQ(config.classes, 2);
  EXPECT_EQ(config.image.channels, 3);
  EXPECT_EQ(config.layer_norm_eps, 1e-12);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_EQ(config.activation, VitActivation::kGelu);
}

TEST(VitConfig, AnErrorNamesTheKey) {
  struct Case {
    nlohmann::json changes;
    const char* phrase;
  };
  for (const auto& [changes, phrase] : std::vector<Case>{
           {{{"hidden_size", nullptr}}, "hidden_size"},
           {{{"hidden_size", 26}}, "hidden_size 26 is no multiple of num_attention_heads 4"},
           {{{"hidden_act", "relu"}}, "hidden_act is 'relu'"},
           {{{"image_size", 13}}, "no multiple of patch_size 4 x 4"},
           {{{"image_size", {12, 12, 12}}}, "expected one or two"},
           {{{"image_size", {12, 0}}}, "expected sides of 1 to"},
           {{{"image_size", 65536}, {"patch_size", 1}}, "patches, expected at most"},
           {{{"id2label", nlohmann::json::object()}}, "id2label is {}"},
           {{{"architectures", {"ViTModel"}}}, "expected ViTForImageClassification"},
           {{{"quantization_config", 1}}, "quantization_config"},
           {{{"matformer_widths", {40, 40}}}, "expected one width for each of 3 layers"},
           {{{"matformer_widths", {8, 8, 16}}}, "the widest of matformer_widths is 16"},
           {{{"matformer_widths", {8, 41, 40}}}, "has 41, expected 1 to intermediate_size, 40"},
           {{{"matformer_granularities", {8, 16}}}, "matformer_granularities"}}) {
    const std::string error = error_of([&] { parse_vit_config(tiny_vit(changes), {}); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
}

}  // namespace
}  // namespace mnm
