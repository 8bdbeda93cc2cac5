#include "families/vit/vit.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "eval/prefix_tree.h"
#include "families/family.h"
#include "families/open_model.h"
#include "families/vit/config.h"
#include "families/vit/timm.h"
#include "families/vit/timm_export.h"
#include "model/cost.h"
#include "model/feature_size.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"
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

// Of what is outside the layers only the patches' projection and the head's matrix; in the layers
// the matrices.
TEST(Vit, MatricesAloneDecay) {
  const nlohmann::json distilled = tiny_vit(
      {{"model_type", "deit"}, {"architectures", {"DeiTForImageClassificationWithTeacher"}}});
  for (const auto& [config, expected] :
       {std::pair(distilled, 3), std::pair(test::tiny_dinov2(true), 4)}) {
    int vectors = 0;
    for (const TensorSpec& tensor : describe_vit(config, {}).table.tensors) {
      bool is_matrix = tensor.name.ends_with(".weight");
      for (const char* part : {"norm", "token", "position"}) {
        is_matrix = is_matrix && !contains(tensor.name, part);
      }
      EXPECT_EQ(tensor.decays(), is_matrix) << tensor.name;
      vectors += tensor.shape.size() > 1 && !is_matrix;
    }
    EXPECT_EQ(vectors, expected);
  }
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

// DINOv2's head reads all tokens, so the last layer costs what any other does.
TEST(Vit, CountsTheFlopsOfAnImageForDinov2) {
  for (const bool registers : {false, true}) {
    const NestedModel model = describe_vit(test::tiny_dinov2(registers), {});
    const double tokens = registers ? 12 : 10, d = 24, w = 48, classes = 4;
    const double layer = 2 * tokens * (4 * d * d + 2 * d * w) + 4 * tokens * tokens * d;
    const double ends = 2 * 9 * d * 48 + 2 * 2 * d * classes;
    EXPECT_NEAR(static_cast<double>(cost_of(model, model.space.full()).flops), 3 * layer + ends, 1);
    EXPECT_EQ(model.max_context, registers ? 12 : 10);
    EXPECT_EQ(feature_size(model), 2 * 24);
  }
}

// DINOv2 in Hugging Face's terms: natively where mlp_ratio says the width, else by the bridge, and
// either is read again.
TEST(Vit, Dinov2IsNativeAtMultiplesOfItsHiddenSize) {
  const Family& family = family_named("vit");
  for (const bool registers : {false, true}) {
    const NestedModel model = describe_vit(
        test::tiny_dinov2(registers, {{"out_features", {"stage3"}}, {"out_indices", {3}}}), {});
    for (const auto& [widths, ratio, native] :
         std::vector<std::tuple<Widths, int, bool>>{{{48, 48, 48}, 2, true},
                                                    {{24, 24, 24}, 1, true},
                                                    {{16, 16, 16}, 1, false},
                                                    {{8, 25, 16}, 2, false}}) {
      const nlohmann::json config = family.huggingface_config(model, widths, Dtype::kF32);
      EXPECT_EQ(config["mlp_ratio"], ratio);
      EXPECT_EQ(config.contains("matformer_widths"), !native);
      EXPECT_EQ(config.contains("auto_map"), !native);
      EXPECT_EQ(family.huggingface_bridge(model, widths).empty(), native);
      EXPECT_FALSE(config.contains("intermediate_size"));
      EXPECT_FALSE(config.contains("out_features") || config.contains("out_indices"));
      EXPECT_EQ(describe_vit(config, {}).space.full(), widths);
    }
    const std::string error = error_of([&, &of = model] {
      vit_timm(family.submodel(of, {48, 48, 48}, Dtype::kF32));
    });
    EXPECT_TRUE(contains(error, "the class token beside the mean of the patches")) << error;
    for (const RuntimeRule& rule : family.runtimes(model)) {
      if (rule.runtime != "transformers, stock") continue;
      EXPECT_FALSE(refusal_of(rule, {24, 24, 24}));
      EXPECT_TRUE(contains(refusal_of(rule, {16, 16, 16}).value_or(""), "no multiple of 24"));
    }
  }
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

// DeiT-B/16 with the distillation token, as its authors count it: 87 M, one token and one head of
// 1,000 classes more than ViT-B/16's 86.6 M.
TEST(Vit, CountsTheParametersOfADistilledDeiT) {
  nlohmann::json config = base(768, 12, 12, 224);
  const std::int64_t plain = cost_of(describe_vit(config, {}), Widths(12, 3072)).params;
  config["model_type"] = "deit";
  const NestedModel model = describe_vit(config, {});
  EXPECT_EQ(cost_of(model, model.space.full()).params, plain + 2 * 768 + 1000 * 769);
  EXPECT_EQ(plain, 86'567'656);
  EXPECT_EQ(model.max_context, 198);
  EXPECT_EQ(feature_size(model), 2 * 768);
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

nlohmann::json tiny_timm(const nlohmann::json& arguments = nlohmann::json::object()) {
  nlohmann::json config = {
      {"architecture", "vit_tiny_patch4_12.made_up"},
      {"num_classes", 4},
      {"global_pool", "token"},
      {"model_args",
       {{"embed_dim", 24}, {"depth", 3}, {"num_heads", 4}, {"mlp_ratio", 2}, {"in_chans", 3}}},
      {"pretrained_cfg", {{"input_size", {3, 12, 12}}}}};
  config["model_args"].update(arguments);
  return config;
}

// One model in both layouts: every tensor of the table reads the same. timm has query, key and
// value in one matrix, in this order (its Attention: qkv(x).reshape(B, N, 3, ...)).
TEST(VitOfTimm, HoldsTheSameTensorsUnderItsNames) {
  const test::TempDir dir;
  const nlohmann::json ours = tiny_vit(
      {{"intermediate_size", 48}, {"matformer_granularities", {12, 48}}, {"layer_norm_eps", 1e-6}});
  const std::vector<test::TestTensor> tensors = test::random_tensors(describe_vit(ours, {}), 7);
  test::write_checkpoint(dir / "ours", ours, tensors);
  std::vector<test::TestTensor> theirs;
  std::map<std::string, test::TestTensor> fused;
  for (const test::TestTensor& tensor : tensors) {
    std::string name = tensor.name;
    const auto put = [&](const std::string& from, const std::string& to) {
      if (const auto at = name.find(from); at != name.npos) name.replace(at, from.size(), to);
    };
    put("vit.embeddings.patch_embeddings.projection", "patch_embed.proj");
    put("vit.embeddings.position_embeddings", "pos_embed");
    put("vit.embeddings.cls_token", "cls_token");
    put("vit.encoder.layer.", "blocks.");
    put("layernorm_before", "norm1");
    put("layernorm_after", "norm2");
    put("attention.output.dense", "attn.proj");
    put("intermediate.dense", "mlp.fc1");
    put("output.dense", "mlp.fc2");
    put("vit.layernorm", "norm");
    put("classifier", "head");
    bool part = false;
    for (const char* which : {"query", "key", "value"}) {  // in the order of the table
      const std::string from = std::string("attention.attention.") + which;
      if (name.find(from) == name.npos) continue;
      put(from, "attn.qkv");
      test::TestTensor& whole = fused[name];
      whole.name = name;
      whole.shape = tensor.shape;
      whole.values.insert(whole.values.end(), tensor.values.begin(), tensor.values.end());
      whole.shape.front() = static_cast<std::int64_t>(whole.values.size()) /
                            (tensor.shape.size() > 1 ? tensor.shape[1] : 1);
      part = true;
    }
    if (part) continue;
    theirs.push_back(tensor);
    theirs.back().name = name;
  }
  for (const auto& [name, tensor] : fused) theirs.push_back(tensor);
  ASSERT_EQ(theirs.size(), tensors.size() - 3 * 4);
  test::write_checkpoint(dir / "timm", tiny_timm(), theirs);

  const OpenedModel a = open_model(dir / "ours", {}),
                    b = open_model(dir / "timm", {.granularities = "1/4,1"});
  EXPECT_EQ(b.family->name(), "vit");
  ASSERT_EQ(a.model.table.tensors.size(), b.model.table.tensors.size());
  for (std::size_t i = 0; i < a.model.table.tensors.size(); ++i) {
    const TensorSpec &x = a.model.table.tensors[i], &y = b.model.table.tensors[i];
    ASSERT_EQ(x.name, y.name);
    ASSERT_EQ(x.shape, y.shape) << x.name;
    EXPECT_EQ(test::values_of(a.checkpoint, a.checkpoint.at(x.name)),
              test::values_of(b.checkpoint, b.checkpoint.at(x.name)))
        << x.name;
  }
  EXPECT_EQ(a.model.space.layers[0].granularities, b.model.space.layers[0].granularities);
  const nlohmann::json exported =
      b.family->huggingface_config(b.model, b.model.space.full(), Dtype::kF32);
  EXPECT_EQ(exported["architectures"][0], "ViTForImageClassification");
  EXPECT_EQ(exported["layer_norm_eps"], 1e-6);
  EXPECT_FALSE(exported.contains("architecture"));
}

// The config and the names that an export writes are read as the same model.
TEST(VitOfTimm, ReadsWhatItWrites) {
  for (const auto& [name, json] : test::tiny_vits()) {
    const NestedModel whole = describe_vit(json, {});
    if (!vit_why_not_timm(parse_vit_config(json, {})).empty()) continue;
    const Family& family = family_named("vit");
    const NestedModel submodel = family.submodel(whole, {16, 16, 16}, Dtype::kF32);
    const TimmModel timm = vit_timm(submodel);
    EXPECT_TRUE(family.recognizes(timm.config)) << name;
    const NestedModel read = describe_vit(timm.config, {});
    ASSERT_EQ(read.table.tensors.size(), submodel.table.tensors.size()) << name;
    for (std::size_t i = 0; i < read.table.tensors.size(); ++i) {
      EXPECT_EQ(read.table.tensors[i].name, submodel.table.tensors[i].name) << name;
      EXPECT_EQ(read.table.tensors[i].shape, submodel.table.tensors[i].shape) << name;
    }
    const VitConfig a = parse_vit_config(submodel.config, {}),
                    b = parse_vit_config(read.config, {});
    EXPECT_EQ(a.kind, b.kind) << name;
    EXPECT_EQ(a.granularities, b.granularities) << name;
    EXPECT_EQ(a.activation, b.activation) << name;
    EXPECT_EQ(a.heads, b.heads) << name;
    EXPECT_EQ(a.image.shape(), b.image.shape()) << name;
    EXPECT_EQ(b.layer_norm_eps, 1e-6) << name;
    EXPECT_EQ(timm.in_timm.config.is_null(), a.layer_norm_eps == 1e-6) << name;
    EXPECT_EQ(submodel.space.layers[1].may_skip, read.space.layers[1].may_skip) << name;
    EXPECT_EQ(read.config["id2label"], json["id2label"]) << name;
    std::size_t parts = 0;
    for (const StackedTensor& tensor : timm.tensors) parts += tensor.parts.size();
    EXPECT_EQ(parts, submodel.table.tensors.size()) << name;
    const std::string error = error_of([&, &of = whole] {
      vit_timm(family.submodel(of, {8, 16, 16}, Dtype::kF32));
    });
    EXPECT_TRUE(contains(error, "has one mlp_ratio for all layers")) << error;
  }
}

// timm cuts mlp_ratio * d off to a whole number.
TEST(VitOfTimm, ItsRatioMakesEveryWidth) {
  for (const int d : {24, 49, 192, 384, 1022}) {
    const int most = 4 * d;
    const NestedModel whole = describe_vit(tiny_vit({{"hidden_size", d},
                                                     {"num_attention_heads", 1},
                                                     {"intermediate_size", most},
                                                     {"num_hidden_layers", 1},
                                                     {"matformer_granularities", {most}}}),
                                           {});
    for (Width width = 1; width <= most; width += d < 100 ? 1 : 13) {
      const NestedModel submodel = family_named("vit").submodel(whole, {width}, Dtype::kF32);
      const double ratio = vit_timm(submodel).config["model_args"]["mlp_ratio"].get<double>();
      ASSERT_EQ(static_cast<Width>(d * ratio), width) << d;
    }
  }
}

TEST(VitOfTimm, AKnownSizeHasItsName) {
  const auto name = [](std::int64_t hidden, std::int64_t layers, std::int64_t heads,
                       const char* type = "vit") {
    nlohmann::json config = base(hidden, layers, heads, 384);
    config["model_type"] = type;
    return timm_architecture(parse_vit_config(config, {}));
  };
  EXPECT_EQ(name(192, 12, 3), "vit_tiny_patch16_224");
  EXPECT_EQ(name(1024, 24, 16), "vit_large_patch16_224");
  EXPECT_EQ(name(1280, 32, 16), "vit_base_patch16_224");
  EXPECT_EQ(name(384, 12, 6, "deit"), "deit_small_distilled_patch16_224");
  EXPECT_EQ(name(384, 11, 6, "deit"), "deit_base_distilled_patch16_224");
}

TEST(VitOfTimm, TheNameSaysTheSizes) {
  const VitConfig base =
      parse_vit_config(describe_vit({{"architecture", "deit_base_patch16_384"}}, {}).config, {});
  EXPECT_EQ(base.hidden_size, 768);
  EXPECT_EQ(base.layers, 12);
  EXPECT_EQ(base.heads, 12);
  EXPECT_EQ(base.positions(), 577);
  EXPECT_EQ(base.full_width(0), 3072);
  EXPECT_EQ(base.classes, 1000);
  EXPECT_EQ(base.layer_norm_eps, 1e-6);
  EXPECT_EQ(base.activation, VitActivation::kGelu);
  const VitConfig distilled = parse_vit_config(
      describe_vit({{"architecture", "deit_tiny_distilled_patch16_224.fb_in1k"}}, {}).config, {});
  EXPECT_EQ(distilled.hidden_size, 192);
  EXPECT_TRUE(distilled.kind->distilled);
  EXPECT_EQ(distilled.positions(), 198);
}

TEST(VitOfTimm, WhatTrainingDropsIsAllThere) {
  const nlohmann::json plain = tiny_timm(),
                       dropping = tiny_timm(
                           {{"drop_path_rate", 0.1}, {"attn_drop_rate", 0.1}, {"drop_rate", 0.1}});
  EXPECT_EQ(describe_vit(dropping, {}).config, describe_vit(plain, {}).config);
}

TEST(VitOfTimm, WhatIsNotComputedIsRefused) {
  for (const auto& [config, phrase] : std::vector<std::pair<nlohmann::json, const char*>>{
           {{{"architecture", "vit_base_r50_s16_224"}}, "expected one such as"},
           {{{"architecture", "vit_odd_patch16_224"}}, "architecture is 'vit_odd_patch16_224'"},
           {{{"architecture", "vit_tiny_patch4_12"}, {"global_pool", "avg"}}, "global_pool is"},
           {tiny_timm({{"init_values", 1e-5}}), "model_args.init_values"},
           {tiny_timm({{"class_token", false}}), "model_args.class_token"},
           {tiny_timm({{"reg_tokens", 4}}), "model_args.reg_tokens"},
           {tiny_timm({{"mlp_ratio", 1e30}}), "model_args.mlp_ratio is 1e+30"},
           {tiny_timm({{"mlp_ratio", 0.001}}), "model_args.mlp_ratio is 0.001"},
           {{{"architecture", "vit_tiny_distilled_patch16_224"}}, "expected one such as"},
           {tiny_timm({{"img_size", {12, 12, 12}}}), "expected one or two"},
           {tiny_timm({{"act_layer", "relu"}}), "model_args.act_layer"}}) {
    const std::string error = error_of([&] { describe_vit(config, {}); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
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
           {{{"use_swiglu_ffn", true}}, "use_swiglu_ffn is true"},
           {{{"image_size", {8, 12}}}, "image_size is 8 x 12, expected a square"},
           {{{"mlp_ratio", 0.5}}, "mlp_ratio"},
           {{{"mlp_ratio", 1 << 30}}, "mlp_ratio"},
           {{{"num_register_tokens", 0}}, "num_register_tokens"},
           {{{"architectures", {"Dinov2Model"}}},
            "expected Dinov2WithRegistersForImageClassification"},
           {{{"matformer_widths", {49, 48, 48}}}, "has 49, expected 1 to mlp_ratio * 24, 48"},
           {{{"matformer_widths", {8, 24, 8}}}, "is 24, expected 25 to mlp_ratio * 24, 48"}}) {
    const std::string error =
        error_of([&] { parse_vit_config(test::tiny_dinov2(true, changes), {}); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
  for (const auto& [changes, phrase] : std::vector<Case>{
           {{{"hidden_size", nullptr}}, "hidden_size"},
           {{{"hidden_size", 26}}, "hidden_size 26 is no multiple of num_attention_heads 4"},
           {{{"hidden_act", "relu"}}, "hidden_act is 'relu', expected gelu, gelu_python or gelu_"},
           {{{"hidden_act", "quick_gelu"}}, "hidden_act is 'quick_gelu'"},
           {{{"image_size", 13}}, "no multiple of patch_size 4 x 4"},
           {{{"image_size", {12, 12, 12}}}, "expected one or two"},
           {{{"image_size", {12, 0}}}, "expected sides of 1 to"},
           {{{"image_size", 65536}, {"patch_size", 1}}, "patches, expected at most"},
           {{{"id2label", nlohmann::json::object()}}, "id2label is {}"},
           {{{"architectures", {"ViTModel"}}},
            "expected ViTForImageClassification: a model without a classifier gets one"},
           {{{"model_type", "deit"}, {"architectures", {"DeiTForImageClassification"}}},
            "expected DeiTForImageClassificationWithTeacher"},
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
