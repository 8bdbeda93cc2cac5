#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "families/family.h"
#include "families/llama/config.h"
#include "families/llama/huggingface.h"
#include "model/cost.h"
#include "model/slice_plan.h"
#include "tests/families/expect_error.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using nlohmann::json;
using test::TinyLlama;

const Family& llama() { return family_named("llama"); }

Widths widths_of(const TinyLlama& tiny, Widths pattern) {
  Widths widths(static_cast<std::size_t>(tiny.layers));
  for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = pattern[i % pattern.size()];
  return widths;
}

bool equal(const Widths& widths) {
  return std::ranges::count(widths, widths[0]) == std::ssize(widths);
}

// What is written reads back as the submodel, in every variant; only the widths have changed.
TEST(LlamaHuggingFace, ConfigReadsBackAsTheSubmodel) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    const NestedModel model = llama().describe(tiny.config(), {});
    for (const Widths& pattern : {Widths{32}, {8}, {7}, {1}, {4, 32, 9}, {16, 8, 4}}) {
      const Widths widths = widths_of(tiny, pattern);
      SCOPED_TRACE(fmt::format("{} at {}", tiny.name, to_string(widths)));
      const json config = llama().huggingface_config(model, widths, Dtype::kF16);
      const NestedModel submodel = llama().describe(config, {});
      EXPECT_EQ(submodel.space.full(), widths);
      EXPECT_EQ(submodel.dtype, Dtype::kF16);

      const LlamaConfig before = parse_llama_config(tiny.config(), {});
      const LlamaConfig after = parse_llama_config(config, {});
      EXPECT_EQ(after.heads, before.heads);
      EXPECT_EQ(after.kv_heads, before.kv_heads);
      EXPECT_EQ(after.head_dim, before.head_dim);
      EXPECT_EQ(after.activation, before.activation);
      EXPECT_EQ(after.gate, before.gate);
      EXPECT_EQ(after.rope_theta, before.rope_theta);
      EXPECT_EQ(after.rope_scaling, before.rope_scaling);
      EXPECT_EQ(after.rms_norm_eps, before.rms_norm_eps);
      EXPECT_EQ(after.tied, before.tied);

      // The table of the written config is the slice of the source's.
      const SlicePlan plan = plan_slices(model.table, widths);
      ASSERT_EQ(plan.tensors.size(), submodel.table.tensors.size());
      for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
        EXPECT_EQ(plan.tensors[i].spec->name, submodel.table.tensors[i].name);
        EXPECT_EQ(plan.tensors[i].shape, submodel.table.tensors[i].shape);
      }
      EXPECT_EQ(cost_of(submodel, widths).flops, cost_of(model, widths).flops);

      // Native exactly where transformers' own class computes it, and writing again changes
      // nothing.
      const bool native = equal(widths) && !tiny.act_of_product;
      EXPECT_EQ(config["model_type"], native ? "llama" : "mixnmatch_llama");
      EXPECT_EQ(config.contains("auto_map"), !native);
      EXPECT_EQ(llama().huggingface_bridge(model, widths).empty(), native);
      EXPECT_EQ(llama().huggingface_bridge(submodel, widths).empty(), native);
      EXPECT_EQ(llama().huggingface_config(submodel, widths, Dtype::kF16), config);
    }
  }
}

TEST(LlamaHuggingFace, RopeAndDtypeAreInBothSpellings) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    const NestedModel model = llama().describe(tiny.config(), {});
    const json config = llama().huggingface_config(model, model.space.full(), Dtype::kBF16);
    EXPECT_EQ(config["dtype"], "bfloat16");
    EXPECT_EQ(config["torch_dtype"], "bfloat16");
    EXPECT_EQ(config["rope_theta"], tiny.rope_theta);
    EXPECT_EQ(config["rope_parameters"]["rope_theta"], tiny.rope_theta);
    EXPECT_EQ(config["rope_parameters"]["rope_type"], tiny.llama3 ? "llama3" : "default");
    EXPECT_EQ(config.contains("rope_scaling"), tiny.llama3);
    for (const bool old : {false, true}) {  // either half alone says the same
      json half = config;
      half.erase(old ? "rope_parameters" : "rope_theta");
      half.erase(old ? "dtype" : "torch_dtype");
      if (!old) half.erase("rope_scaling");
      const LlamaConfig parsed = parse_llama_config(half, {});
      EXPECT_EQ(parsed.rope_theta, tiny.rope_theta);
      EXPECT_EQ(parsed.rope_scaling.has_value(), tiny.llama3);
      EXPECT_EQ(parsed.dtype, Dtype::kBF16);
    }
  }
}

TEST(LlamaHuggingFace, SubmodelStaysNested) {
  const NestedModel model = llama().describe(TinyLlama{}.config(), {});
  const struct {
    Widths widths;
    json granularities;  // null: not written
  } cases[] = {
      {{32, 32, 32}, {4, 8, 16, 32}}, {{16, 16, 16}, {4, 8, 16}},
      {{9, 9, 9}, {4, 8, 9}},         {{4, 4, 4}, nullptr},
      {{2, 3, 4}, nullptr},           {{4, 8, 32}, {{4}, {4, 8}, {4, 8, 16, 32}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(to_string(c.widths));
    const json config = llama().huggingface_config(model, c.widths, Dtype::kF32);
    EXPECT_EQ(config.value("matformer_granularities", json()), c.granularities);
  }
  // Granularities that only the user stated are written too.
  TinyLlama silent;
  silent.granularities = {};
  const NestedModel told = llama().describe(silent.config(), {"1/2,1"});
  EXPECT_EQ(llama().huggingface_config(told, {32, 32, 32}, Dtype::kF32)["matformer_granularities"],
            json({16, 32}));
}

TEST(LlamaHuggingFace, KeepsWhatItDoesNotKnowAndDropsWhatDescribedTheSource) {
  json source = TinyLlama{}.config();
  source["initializer_range"] = 0.5;
  source["eos_token_id"] = {2, 3};
  source["_name_or_path"] = "somewhere";
  source["transformers_version"] = "4.40.0";
  source["mixnmatch"] = {{"widths", "4x3"}};
  source["auto_map"] = {{"AutoConfig", "evil.Config"}};
  const NestedModel model = llama().describe(source, {});
  const json config = llama().huggingface_config(model, {8, 8, 8}, Dtype::kF32);
  EXPECT_EQ(config["initializer_range"], 0.5);
  EXPECT_EQ(config["eos_token_id"], json({2, 3}));
  EXPECT_EQ(config["bos_token_id"], 1);
  for (const char* key : {"_name_or_path", "transformers_version", "mixnmatch", "auto_map"}) {
    EXPECT_FALSE(config.contains(key)) << key;
  }
}

TEST(LlamaHuggingFace, WidthsOutsideTheSpaceAreRefused) {
  const NestedModel model = llama().describe(TinyLlama{}.config(), {});
  for (const Widths& widths : {Widths{}, {8, 8}, {8, 33, 8}, {8, kSkip, 8}}) {
    EXPECT_THROW(llama().huggingface_config(model, widths, Dtype::kF32), UsageError);
  }
}

// The bridge in the binary is the file in the tree.
TEST(LlamaHuggingFace, BridgeIsTheFile) {
  const NestedModel model = llama().describe(TinyLlama{}.config(), {});
  const auto files = llama().huggingface_bridge(model, {4, 8, 8});
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files.begin()->first, "modeling_mixnmatch_llama.py");
  EXPECT_EQ(files.begin()->second, test::slurp(std::filesystem::path(MNM_SOURCE_DIR) /
                                               "families/llama/modeling_mixnmatch_llama.py"));
}

}  // namespace
}  // namespace mnm
