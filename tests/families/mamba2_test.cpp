// The tensor table, the width space and the costs that follow from them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "families/family.h"
#include "model/cost.h"
#include "model/slice_plan.h"
#include "tests/families/expect_error.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

using test::TinyMamba2;

NestedModel describe(const TinyMamba2& tiny, const std::string& granularities = "") {
  return family_named("mamba2").describe(tiny.config(), {granularities});
}

std::string table_name(const std::string& stored) {
  return stored == "backbone.embedding.weight" ? "backbone.embeddings.weight" : stored;
}

TEST(Mamba2, IsFoundByItsConfigs) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    EXPECT_EQ(family_of(tiny.config()).name(), "mamba2") << tiny.name;
  }
  EXPECT_EQ(family_of({{"model_type", "mixnmatch_mamba2"}}).name(), "mamba2");
  test::expect_error<Error>([] { family_of({{"model_type", "mamba"}}); }, "of no family");
  test::expect_error<Error>([] { family_of({{"d_model", 8}}); }, "model_type is missing");
}

TEST(Mamba2, TableHoldsExactlyTheCheckpointsTensors) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    SCOPED_TRACE(tiny.name);
    std::map<std::string, std::vector<std::int64_t>> expected, found;
    for (const auto& tensor : tiny.tensors()) expected[table_name(tensor.name)] = tensor.shape;
    const NestedModel model = describe(tiny);
    for (const TensorSpec& tensor : model.table.tensors) found[tensor.name] = tensor.shape;
    EXPECT_EQ(found, expected);
    EXPECT_EQ(model.table.tensors.size(), found.size()) << "a name twice";
  }
}

TEST(Mamba2, DescribesTheWholeModel) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    SCOPED_TRACE(tiny.name);
    const NestedModel model = describe(tiny);
    EXPECT_EQ(model.family, "mamba2");
    // Hugging Face's spelling, whatever was read.
    EXPECT_EQ(model.config["model_type"],
              tiny.mamba_ssm && tiny.limited() ? "mixnmatch_mamba2" : "mamba2");
    EXPECT_EQ(model.config == tiny.config(), !tiny.mamba_ssm);
    EXPECT_EQ(model.vocab_size, tiny.vocab);
    EXPECT_EQ(model.hidden_size, tiny.hidden);
    EXPECT_EQ(model.max_context, kAnyContext);
    EXPECT_EQ(model.tied_head, tiny.tied);
    ASSERT_EQ(model.layers(), static_cast<std::size_t>(tiny.layers));
    std::vector<Width> granularities(tiny.granularities.begin(), tiny.granularities.end());
    if (tiny.matmamba) granularities = {8, 16, 32, 64};
    if (granularities.empty()) granularities = {tiny.full()};
    for (const LayerChoices& layer : model.space.layers) {
      EXPECT_EQ(layer.granularities, granularities);
    }
    // What the config was turned into describes the same model.
    const NestedModel again = family_of(model.config).describe(model.config, {});
    EXPECT_EQ(again.config, model.config);
    EXPECT_EQ(again.space.full(), model.space.full());
    EXPECT_EQ(cost_of(again, again.space.full()).params, cost_of(model, model.space.full()).params);
    for (std::size_t i = 0; i < model.table.tensors.size(); ++i) {
      EXPECT_EQ(again.table.tensors[i].init_high, model.table.tensors[i].init_high);
    }
  }
}

// Every tensor at many widths, against the cut one element at a time.
TEST(Mamba2, SlicesKeepTheBlocksThatTheWidthNames) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    const NestedModel model = describe(tiny);
    const auto stored = tiny.tensors();
    for (int width = tiny.groups == 1 ? tiny.step() : tiny.full(); width <= tiny.full();
         width += tiny.step()) {
      std::vector<int> widths(static_cast<std::size_t>(tiny.layers), width);
      if (tiny.groups == 1 && tiny.layers > 1) widths[1] = tiny.full() - width + tiny.step();
      SCOPED_TRACE(fmt::format("{} at {}", tiny.name, to_string(widths)));
      const auto cut = tiny.tensors_at(widths);
      const SlicePlan plan = plan_slices(model.table, widths);
      ASSERT_EQ(plan.tensors.size(), cut.size());
      for (const TensorSlice& slice : plan.tensors) {
        SCOPED_TRACE(slice.spec->name);
        const auto expected = std::ranges::find(cut, slice.spec->name, &test::TestTensor::name);
        const auto whole = std::ranges::find_if(stored, [&](const test::TestTensor& tensor) {
          return table_name(tensor.name) == slice.spec->name;
        });
        ASSERT_TRUE(expected != cut.end() && whole != stored.end());
        EXPECT_EQ(slice.shape, expected->shape);
        std::vector<float> kept;
        std::int64_t inside = 1;
        for (std::size_t d = slice.spec->shape.size(); static_cast<int>(d) - 1 > slice.dim; --d) {
          inside *= slice.spec->shape[d - 1];
        }
        for (std::size_t i = 0; i < whole->values.size(); ++i) {
          bool keep = slice.dim < 0;
          for (const Range& range : slice.ranges) {
            const std::int64_t at = static_cast<std::int64_t>(i) / inside %
                                    slice.spec->shape[static_cast<std::size_t>(slice.dim)];
            keep |= range.begin <= at && at < range.end;
          }
          if (keep) kept.push_back(whole->values[i]);
        }
        EXPECT_EQ(kept, expected->values);
      }
    }
  }
}

TEST(Mamba2, WidthsAreMultiplesOfHalfAHead) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    SCOPED_TRACE(tiny.name);
    const NestedModel model = describe(tiny);
    for (const LayerChoices& layer : model.space.layers) {
      EXPECT_FALSE(layer.allows(kSkip));
      for (Width width = 1; width <= tiny.full() + tiny.step(); ++width) {
        const bool whole = tiny.groups == 1 ? 2 * width % tiny.head_dim == 0 : width == tiny.full();
        EXPECT_EQ(layer.allows(width), whole && width <= tiny.full()) << width;
      }
    }
  }
  TinyMamba2 tiny;
  test::expect_error<UsageError>(
      [&] {
        describe(tiny).space.require({16, 7, 16});
      },
      "layer 1 may not have width 7 (width m keeps 2m channels in whole "
      "heads of 4, so widths are multiples of 2 up to 16); nearest "
      "allowed: 6 and 8");
  tiny.groups = 2;
  tiny.granularities = {};
  test::expect_error<UsageError>(
      [&] {
        describe(tiny).space.require({16, 8, 16});
      },
      "only the whole layer is a model); nearest allowed: 16");
}

TEST(Mamba2, CostsAreTheClosedFormula) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    const NestedModel model = describe(tiny);
    for (std::size_t level = 0; level < model.space.levels(); ++level) {
      const Widths widths = model.space.uniform(level);
      SCOPED_TRACE(fmt::format("{} at {}", tiny.name, to_string(widths)));
      const std::int64_t d = tiny.hidden, inner = 2 * widths[0], heads = inner / tiny.head_dim,
                         bc = 2 * tiny.groups * tiny.state;
      const std::int64_t in = 2 * inner + bc + heads, conv = inner + bc;
      const std::int64_t products = in * d + inner * d + conv * tiny.kernel;
      std::int64_t layer = products + d + inner + 3 * heads;
      if (tiny.bias) layer += in + d;
      if (tiny.conv_bias) layer += conv;
      const std::int64_t table = tiny.vocab * d;

      const Cost cost = cost_of(model, widths, {Dtype::kBF16, 33});
      EXPECT_EQ(cost.non_embedding, tiny.layers * layer + d);
      EXPECT_EQ(cost.params, tiny.layers * layer + d + (tiny.tied ? 1 : 2) * table);
      EXPECT_EQ(cost.flops,
                2 * (tiny.layers * products + table) + tiny.layers * 5 * inner * tiny.state);
      EXPECT_EQ(cost.kv_bytes, 0);
      EXPECT_EQ(cost.state_bytes,
                tiny.layers * (inner * tiny.state + conv * (tiny.kernel - 1)) * 2);
      EXPECT_EQ(CostTable(model, {}).of(widths).params, cost.params);
    }
  }
}

// The sizes of MatMamba's table 3, in millions, at d, d/2, d/4, d/8. The authors count each block's
// first norm as 2m parameters, where it has d; and no norm after the last block. Both are here.
TEST(Mamba2, ParameterCountsAreThePublishedOnes) {
  struct Published {
    std::int64_t layers, d;
    double millions[4];
    std::int64_t exact[4], params[4];  // by the tensors: without the embedding, and in all
  };
  const Published published[] = {
      {24,
       768,
       {91.1, 47.9, 26.3, 15.5},
       {91108608, 47938560, 26353536, 15561024},
       {129723648, 86553600, 64968576, 54176064}},
      {48,
       1024,
       {318.5, 165.6, 89.1, 50.9},
       {318429184, 165561856, 89128192, 50911360},
       {369915904, 217048576, 140614912, 102398080}},
      {48,
       1536,
       {704.2, 361.6, 190.2, 104.6},
       {704100864, 361555968, 190283520, 104647296},
       {781330944, 438786048, 267513600, 181877376}},
      {48,
       2048,
       {1240.9, 633.0, 329.1, 177.2},
       {1240767488, 633047552, 329187584, 177257600},
       {1343740928, 736020992, 432161024, 280231040}},
  };
  for (const Published& p : published) {
    // All that the authors' config.json says; the rest is defaults.
    const nlohmann::json config = {{"d_model", p.d},
                                   {"d_intermediate", 0},
                                   {"n_layer", p.layers},
                                   {"vocab_size", 50277},
                                   {"ssm_cfg", nlohmann::json::object()},
                                   {"attn_layer_idx", nlohmann::json::array()},
                                   {"attn_cfg", nlohmann::json::object()},
                                   {"rms_norm", true},
                                   {"residual_in_fp32", true},
                                   {"fused_add_norm", true},
                                   {"pad_vocab_size_multiple", 8},
                                   {"tie_embeddings", true}};
    const NestedModel model = family_of(config).describe(config, {});
    EXPECT_EQ(model.vocab_size, 50280);
    ASSERT_EQ(model.space.levels(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
      const Widths widths = model.space.uniform(3 - i);
      const std::int64_t m = widths[0];
      EXPECT_EQ(m, p.d >> i);
      SCOPED_TRACE(fmt::format("d {} at {}", p.d, m));
      const Cost cost = cost_of(model, widths);
      const std::int64_t authors = cost.non_embedding - p.d + p.layers * (2 * m - p.d);
      EXPECT_EQ(std::round(static_cast<double>(authors) / 1e5) / 10, p.millions[i]);
      EXPECT_EQ(cost.non_embedding, p.exact[i]);
      EXPECT_EQ(cost.params, p.params[i]);
    }
  }
}

TEST(Mamba2, InitialValuesAreMamba2s) {
  const NestedModel model = describe(TinyMamba2{});
  const auto spec = [&](const std::string& end) {
    return *std::ranges::find_if(model.table.tensors,
                                 [&](const TensorSpec& t) { return t.name.ends_with(end); });
  };
  EXPECT_EQ(spec("0.mixer.A_log").init, Init::kLogOfUniform);
  EXPECT_EQ(spec("0.mixer.A_log").init_low, 1);
  EXPECT_EQ(spec("0.mixer.A_log").init_high, 16);
  EXPECT_EQ(spec("0.mixer.dt_bias").init, Init::kInverseSoftplus);
  EXPECT_EQ(spec("0.mixer.dt_bias").init_low, 0.001);
  EXPECT_EQ(spec("0.mixer.dt_bias").init_high, 0.1);
  EXPECT_EQ(spec("0.mixer.D").init, Init::kOne);
  EXPECT_EQ(spec("0.mixer.conv1d.weight").init_high, 0.5);    // 1 / sqrt(4)
  EXPECT_EQ(spec("0.mixer.in_proj.weight").init_high, 0.25);  // 1 / sqrt(16)
  EXPECT_EQ(spec("0.mixer.in_proj.weight").init_low, -0.25);
  EXPECT_EQ(spec("embeddings.weight").init, Init::kNormal);
}

}  // namespace
}  // namespace mnm
