// MatMamba-Vision as data: sizes as its paper and its authors' code count them, FLOPs by hand,
// configs.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "families/family.h"
#include "families/mamba2_vision/config.h"
#include "model/cost.h"
#include "model/slice_plan.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_mamba2_vision.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::tiny_mamba2_vision;

NestedModel describe(const nlohmann::json& json) { return family_of(json).describe(json, {}); }

// As the published config.json has it.
nlohmann::json published(std::int64_t d) {
  nlohmann::json config = tiny_mamba2_vision({{"d_model", d},
                                              {"n_layer", 20},
                                              {"n_classes", 1000},
                                              {"patch_size", 16},
                                              {"image_size", 224},
                                              {"ssm_cfg", nlohmann::json::object()}});
  config.erase("matformer_granularities");
  return config;
}

TEST(Mamba2Vision, ClassTokenAndPositionsDoNotDecay) {
  int found = 0;
  for (const TensorSpec& tensor : describe(tiny_mamba2_vision()).table.tensors) {
    const bool is_one = tensor.name == "cls_token" || tensor.name == "pos_embed";
    found += is_one;
    EXPECT_EQ(tensor.decays(), tensor.shape.size() > 1 && !is_one) << tensor.name;
  }
  EXPECT_EQ(found, 2);
}

struct Counts {
  std::int64_t blocks = 0, theirs = 0, whole = 0;
};

// theirs: their formula takes 2w elements for every tensor of a block that has "norm" in its name.
Counts count(const NestedModel& model, Width width) {
  const Widths widths(model.layers(), width);
  Counts counts;
  for (const TensorSpec& tensor : model.table.tensors) {
    const std::int64_t elements = tensor.elements_of(tensor.layer, width);
    counts.whole += elements;
    if (tensor.layer < 0) continue;
    counts.blocks += elements;
    counts.theirs += contains(tensor.name, "norm") ? 2 * width : elements;
  }
  EXPECT_EQ(cost_of(model, widths).params, counts.whole);
  return counts;
}

TEST(Mamba2Vision, CountsTheParametersOfMatMambaVision) {
  struct Row {
    std::int64_t d;
    Width width;
    Counts expected;
  };
  for (const Row& row : std::vector<Row>{{512, 512, {34'906'880, 34'927'360, 35'916'008}},
                                         {512, 256, {18'787'200, 18'787'200, 19'796'328}},
                                         {512, 128, {10'727'360, 10'717'120, 11'736'488}},
                                         {512, 64, {6'697'440, 6'682'080, 7'706'568}},
                                         {1024, 1024, {132'698'880, 132'739'840, 134'716'136}},
                                         {1024, 512, {69'004'160, 69'004'160, 71'021'416}},
                                         {1024, 256, {37'156'800, 37'136'320, 39'174'056}},
                                         {1024, 128, {21'233'120, 21'202'400, 23'250'376}}}) {
    const NestedModel model = describe(published(row.d));
    EXPECT_EQ(model.space.layers[7].granularities.size(), 4u) << "the authors' own four";
    const Counts counts = count(model, row.width);
    EXPECT_EQ(counts.blocks, row.expected.blocks) << row.d << ", " << row.width;
    EXPECT_EQ(counts.theirs, row.expected.theirs) << row.d << ", " << row.width;
    EXPECT_EQ(counts.whole, row.expected.whole) << row.d << ", " << row.width;
  }
}

// By hand, for one image of 10 tokens. Of the last layer, z and out_proj are of one token, C of
// four, its convolution of one; there is no state, but a sum over the tokens for each channel.
TEST(Mamba2Vision, CountsTheFlopsOfAnImage) {
  const double tokens = 10, d = 16, inner = 32, n = 6, heads = 8, taps = 4, classes = 4;
  const double layer = tokens * (2 * d * (2 * inner + 2 * n + heads) + 2 * taps * (inner + 2 * n) +
                                 2 * d * inner + 5 * inner * n);
  const double last = tokens * 2 * d * (inner + n + heads) + 2 * d * (inner + taps * n) +
                      tokens * 2 * taps * (inner + n) + 2 * taps * n + 2 * d * inner +
                      tokens * (2 * inner + 2 * n);
  const double ends = 2 * (tokens - 1) * d * 48 + 2 * d * classes;
  const NestedModel model = describe(tiny_mamba2_vision());
  EXPECT_NEAR(static_cast<double>(cost_of(model, {16, 16, 16}).flops), 2 * layer + last + ends, 1);
  EXPECT_EQ(cost_of(model, {16, 16, 16}).kv_bytes, 0);
  // All tokens where the last layer may be left out, or all are read.
  for (const nlohmann::json& changes :
       {nlohmann::json{{"mixnmatch_may_skip", {2}}}, nlohmann::json{{"pool", "avg"}}}) {
    const NestedModel whole = describe(tiny_mamba2_vision(changes));
    EXPECT_NEAR(static_cast<double>(cost_of(whole, {16, 16, 16}).flops), 3 * layer + ends, 1);
  }
}

TEST(Mamba2VisionConfig, IsToldFromTheLanguageModels) {
  EXPECT_EQ(family_of(tiny_mamba2_vision()).name(), "mamba2_vision");
  nlohmann::json text = tiny_mamba2_vision({{"vocab_size", 50}});
  for (const char* key : {"n_classes", "patch_size"}) text.erase(key);
  EXPECT_EQ(family_of(text).name(), "mamba2");
  EXPECT_EQ(family_of({{"model_type", kMamba2VisionModelType}}).name(), "mamba2_vision");
}

TEST(Mamba2VisionConfig, HasTheAuthorsDefaults) {
  nlohmann::json json = published(512);
  for (const char* key : {"image_size", "patch_size", "pool", "rms_norm", "norm_epsilon"}) {
    json.erase(key);
  }
  const Mamba2VisionConfig config = parse_mamba2_vision_config(json, {});
  EXPECT_EQ(config.positions(), 197);
  EXPECT_EQ(config.blocks.head_dim, 16);
  EXPECT_EQ(config.blocks.state_size, 128);
  EXPECT_TRUE(config.norm_bias);
  EXPECT_TRUE(config.class_token);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.blocks.granularities[0], (std::vector<Width>{64, 128, 256, 512}));
}

TEST(Mamba2VisionConfig, AnErrorNamesTheKey) {
  struct Case {
    nlohmann::json changes;
    const char* phrase;
  };
  for (const auto& [changes, phrase] : std::vector<Case>{
           {{{"n_classes", nullptr}}, "n_classes"},
           {{{"d_model", 0}}, "d_model"},
           {{{"d_intermediate", 64}}, "MLPs between the blocks"},
           {{{"attn_layer_idx", {1}}}, "attention layers"},
           {{{"pool", "max"}}, "pool is 'max', expected cls or avg"},
           {{{"image_size", 13}}, "no multiple of patch_size 4 x 4"},
           {{{"ssm_cfg", {{"layer", "Mamba1"}}}}, "ssm_cfg.layer is 'Mamba1'"},
           {{{"matformer_widths", {4, 8}}}, "one width for each of the 3 layers"},
           {{{"matformer_widths", {4, 8, 18}}}, "widths from 1 to expand * d_model / 2, 16"},
           {{{"matformer_granularities", {3, 16}}}, "multiples of half a head"}}) {
    const std::string error =
        error_of([&] { parse_mamba2_vision_config(tiny_mamba2_vision(changes), {}); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
}

}  // namespace
}  // namespace mnm
