// The tensor table, the width space and the costs that follow from them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "families/family.h"
#include "model/cost.h"
#include "tests/families/expect_error.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using test::TinyLlama;

NestedModel describe(const TinyLlama& tiny, const std::string& granularities = "") {
  return family_named("llama").describe(tiny.config(), {granularities});
}

TEST(Family, IsFoundByNameAndByConfig) {
  ASSERT_FALSE(families().empty());
  std::set<std::string_view> names;
  for (const Family* family : families()) {
    EXPECT_TRUE(names.insert(family->name()).second) << family->name();
    EXPECT_EQ(&family_named(family->name()), family);
  }
  EXPECT_EQ(family_of(TinyLlama{}.config()).name(), "llama");
  EXPECT_EQ(family_of({{"model_type", "mixnmatch_llama"}}).name(), "llama");
  test::expect_error<Error>([] { family_named("lama"); }, "there are llama");
  test::expect_error<Error>([] { family_of({{"model_type", "gpt2"}}); }, "model_type is \"gpt2\"");
  test::expect_error<Error>([] { family_of({{"model_type", 7}}); }, "model_type is 7");
  test::expect_error<Error>([] { family_of(nlohmann::json::object()); }, "model_type is missing");
  test::expect_error<Error>([] { family_of({{"model_type", nullptr}}); }, "model_type is missing");
  test::expect_error<Error>([] { family_of(nlohmann::json::array()); }, "expected a JSON object");
}

TEST(Llama, TableHoldsExactlyTheCheckpointsTensors) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    std::map<std::string, std::vector<std::int64_t>> expected, found;
    for (const auto& tensor : tiny.tensors()) expected[tensor.name] = tensor.shape;
    const NestedModel model = describe(tiny);
    for (const TensorSpec& tensor : model.table.tensors) found[tensor.name] = tensor.shape;
    EXPECT_EQ(found, expected);
    EXPECT_EQ(model.table.tensors.size(), found.size()) << "a name twice";
  }
}

TEST(Llama, DescribesTheWholeModel) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    const NestedModel model = describe(tiny);
    EXPECT_EQ(model.family, "llama");
    EXPECT_EQ(model.config, tiny.config());
    EXPECT_EQ(model.dtype, tiny.dtype);
    EXPECT_EQ(model.vocab_size, tiny.vocab);
    EXPECT_EQ(model.hidden_size, tiny.hidden);
    EXPECT_EQ(model.max_context, tiny.positions);
    EXPECT_EQ(model.tied_head, tiny.tied);
    ASSERT_EQ(model.layers(), static_cast<std::size_t>(tiny.layers));
    ASSERT_EQ(model.mixing.size(), model.layers());
    for (const LayerMixing& mixing : model.mixing) {
      EXPECT_EQ(mixing.flops_per_attended,
                4.0 * static_cast<double>(tiny.heads * tiny.head_size()));
      EXPECT_EQ(mixing.kv_per_token, 2 * tiny.kv_heads * tiny.head_size());
      EXPECT_EQ(mixing.flops_per_width, 0);
      EXPECT_EQ(mixing.state_per_width, 0);
    }
  }
}

// Which tensors the width cuts, and where: by name, as the design states it.
TEST(Llama, WidthCutsGateAndUpRowsAndDownColumns) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    for (const TensorSpec& tensor : describe(tiny).table.tensors) {
      SCOPED_TRACE(tensor.name);
      const auto has = [&](std::string_view part) {
        return tensor.name.find(part) != std::string::npos;
      };
      int cut = -1;
      if (has(".gate_proj.") || has(".up_proj.")) cut = 0;
      if (has(".down_proj.weight")) cut = 1;
      EXPECT_EQ(tensor.cut_dim, cut);
      ASSERT_EQ(tensor.pieces.size(), cut < 0 ? 0u : 1u);
      if (cut >= 0) {
        EXPECT_EQ(tensor.pieces[0].begin, 0);
        for (const Width width : {1, 7, 32}) EXPECT_EQ(tensor.pieces[0].length(width), width);
      }
      const bool bias = has(".bias"), norm = has("norm.weight");
      EXPECT_EQ(tensor.init, bias ? Init::kZero : norm ? Init::kOne : Init::kNormal);
      const bool lookup = has("embed_tokens") && !tiny.tied;
      EXPECT_EQ(tensor.flops_per_element, bias || norm || lookup ? 0 : 2);
      EXPECT_EQ(tensor.role, has("embed_tokens") ? Role::kEmbedding
                             : has("lm_head")    ? Role::kHead
                                                 : Role::kOther);
    }
  }
}

TEST(Llama, WidthsMayBeAnyNumberOfNeurons) {
  const WidthSpace space = describe(TinyLlama{}).space;
  EXPECT_EQ(space.submodels(), 64);
  for (const LayerChoices& layer : space.layers) {
    EXPECT_FALSE(layer.allows(kSkip));
    for (Width width = 1; width <= 32; ++width) EXPECT_TRUE(layer.allows(width)) << width;
    EXPECT_FALSE(layer.allows(33));
    EXPECT_FALSE(layer.allows(-1));
  }
  test::expect_error<UsageError>([&] { space.require({4, 33, 4}); }, "first 1 to 32");
  EXPECT_EQ(describe(
                [] {
                  TinyLlama tiny;
                  tiny.granularities = {};
                  return tiny;
                }(),
                "1/4,1/2,1")
                .space.choices(1),
            (std::vector<Width>{8, 16, 32}));
}

// Parameters and FLOPs by closed formula, for every variant and uniform granularity.
TEST(Llama, CostsAreTheClosedFormula) {
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    const NestedModel model = describe(tiny);
    for (std::size_t level = 0; level < model.space.levels(); ++level) {
      const Widths widths = model.space.uniform(level);
      SCOPED_TRACE(fmt::format("{} at {}", tiny.name, to_string(widths)));
      const std::int64_t w = widths[0], d = tiny.hidden, q = tiny.heads * tiny.head_size(),
                         kv = tiny.kv_heads * tiny.head_size();
      const std::int64_t products = 2 * (q + kv) * d + 3 * w * d;
      std::int64_t layer = products + 2 * d;
      if (tiny.attention_bias) layer += q + 2 * kv + d;
      if (tiny.mlp_bias) layer += 2 * w + d;
      const std::int64_t table = tiny.vocab * d;
      const std::int64_t inner = tiny.layers * layer + d;

      const CostBasis basis{Dtype::kBF16, 33};
      const Cost cost = cost_of(model, widths, basis);
      EXPECT_EQ(cost.non_embedding, inner);
      EXPECT_EQ(cost.params, inner + (tiny.tied ? 1 : 2) * table);
      EXPECT_EQ(cost.bytes, 2 * cost.params);
      EXPECT_EQ(cost.flops, 2 * (tiny.layers * products + table) + tiny.layers * 4 * q * 17);
      EXPECT_EQ(cost.kv_bytes, tiny.layers * 2 * kv * 2);
      EXPECT_EQ(cost.state_bytes, 0);
    }
  }
}

// Published sizes: Llama-3.2-1B has 1,235,814,400 parameters, TinyLlama-1.1B 1,100,048,384.
TEST(Llama, ParameterCountsArePublishedOnes) {
  TinyLlama llama;
  llama.granularities = {};
  llama.layers = 16;
  llama.hidden = 2048;
  llama.heads = 32;
  llama.kv_heads = 8;
  llama.head_dim = 64;
  llama.full = 8192;
  llama.vocab = 128256;
  llama.tied = true;
  NestedModel model = describe(llama);
  EXPECT_EQ(cost_of(model, model.space.full()).params, 1'235'814'400);

  llama.layers = 22;
  llama.kv_heads = 4;
  llama.full = 5632;
  llama.vocab = 32000;
  llama.tied = false;
  model = describe(llama);
  EXPECT_EQ(cost_of(model, model.space.full()).params, 1'100'048'384);
}

}  // namespace
}  // namespace mnm
