// The config of every submodel reads back as that submodel; what transformers computes of it is
// judged by transformers itself (mamba2_bridge_check.py).
#include <gtest/gtest.h>

#include "families/family.h"
#include "families/mamba2/huggingface.h"
#include "model/cost.h"
#include "model/slice_plan.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

using nlohmann::json;
using test::TinyMamba2;

const Family& mamba2() { return family_named("mamba2"); }

// Uniform at every multiple of half a head, and mixed ones.
std::vector<Widths> choices_of(const TinyMamba2& tiny) {
  const auto layers = static_cast<std::size_t>(tiny.layers);
  std::vector<Widths> all = {Widths(layers, tiny.full())};
  if (tiny.groups > 1) return all;
  for (Width width = tiny.step(); width < tiny.full(); width += tiny.step()) {
    all.push_back(Widths(layers, width));
  }
  if (layers == 3) {
    all.push_back({tiny.step(), tiny.full(), 2 * tiny.step()});
    all.push_back({2 * tiny.step(), tiny.step(), tiny.step()});
  }
  return all;
}

bool native(const TinyMamba2& tiny, const Widths& widths) {
  return is_uniform(widths) && 2 * widths.front() % tiny.hidden == 0 && !tiny.limited();
}

TEST(Mamba2HuggingFace, ConfigReadsBackAsTheSubmodel) {
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    const NestedModel model = mamba2().describe(tiny.config(), {});
    for (const Widths& widths : choices_of(tiny)) {
      SCOPED_TRACE(fmt::format("{} at {}", tiny.name, to_string(widths)));
      const json config = mamba2().huggingface_config(model, widths, Dtype::kF16);
      const NestedModel submodel = mamba2().describe(config, {});
      EXPECT_EQ(submodel.space.full(), widths);
      EXPECT_EQ(submodel.dtype, Dtype::kF16);
      EXPECT_EQ(submodel.tied_head, model.tied_head);
      const SlicePlan plan = plan_slices(model.table, widths);
      ASSERT_EQ(plan.tensors.size(), submodel.table.tensors.size());
      for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
        EXPECT_EQ(plan.tensors[i].spec->name, submodel.table.tensors[i].name);
        EXPECT_EQ(plan.tensors[i].shape, submodel.table.tensors[i].shape);
      }
      EXPECT_EQ(cost_of(submodel, widths).flops, cost_of(model, widths).flops);
      EXPECT_EQ(cost_of(submodel, widths).state_bytes, cost_of(model, widths).state_bytes);
      for (const LayerChoices& layer : submodel.space.layers) {
        for (const Width width : layer.granularities) EXPECT_TRUE(layer.allows(width));
      }

      EXPECT_EQ(config["model_type"], native(tiny, widths) ? "mamba2" : "mixnmatch_mamba2");
      EXPECT_EQ(config.contains("auto_map"), !native(tiny, widths));
      EXPECT_EQ(config.contains("expand"), native(tiny, widths));
      EXPECT_EQ(mamba2().huggingface_bridge(model, widths).empty(), native(tiny, widths));
      EXPECT_EQ(mamba2().huggingface_bridge(submodel, widths).empty(), native(tiny, widths));
      EXPECT_EQ(mamba2().huggingface_config(submodel, widths, Dtype::kF16), config);
    }
  }
}

// Whole expand: MatMamba's d and d/2, and nothing between or below.
TEST(Mamba2HuggingFace, FullAndHalfWidthAreNative) {
  const TinyMamba2 tiny;  // hidden 16, full width 16
  const NestedModel model = mamba2().describe(tiny.config(), {});
  const auto config = [&](Width width) {
    return mamba2().huggingface_config(model, Widths(3, width), Dtype::kF32);
  };
  EXPECT_EQ(config(16)["expand"], 2);
  EXPECT_EQ(config(16)["num_heads"], 8);
  EXPECT_EQ(config(8)["expand"], 1);
  EXPECT_EQ(config(8)["num_heads"], 4);
  EXPECT_EQ(config(8)["matformer_granularities"], json({2, 4, 8}));
  EXPECT_EQ(config(4)["matformer_widths"], json({4, 4, 4}));
  EXPECT_EQ(config(12)["model_type"], "mixnmatch_mamba2");
}

TEST(Mamba2HuggingFace, TransformersComputesTheSubmodel) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    if (tiny.dtype != Dtype::kF32) continue;
    TinyMamba2 renamed = tiny;  // an export has Hugging Face's names, whatever the checkpoint's
    renamed.mamba_ssm = renamed.matmamba = false;
    const NestedModel model = mamba2().describe(tiny.config(), {});
    int number = 0;
    for (const Widths& widths : choices_of(tiny)) {
      const bool mixed = widths.size() == 3 && widths[0] != widths[1];
      const bool anchor = widths.front() == tiny.full() || 2 * widths.front() == tiny.full() ||
                          (tiny.name == "plain" && widths.front() == 6);
      if (!mixed && !anchor) continue;
      const auto place = dir / "cases" / fmt::format("{}-{}", tiny.name, ++number);
      test::write_checkpoint(place / "full", renamed.config(),
                             renamed.tensors_at(model.space.full()));
      test::write_checkpoint(place / "submodel",
                             mamba2().huggingface_config(model, widths, Dtype::kF32),
                             renamed.tensors_at(widths));
      for (const auto& [file, text] : mamba2().huggingface_bridge(model, widths)) {
        test::spew(place / "submodel" / file, text);
      }
      test::spew(place / "case.json",
                 json{{"widths", widths}, {"native", native(tiny, widths)}}.dump());
    }
  }
  EXPECT_EQ(test::python_failure("families/mamba2_bridge_check.py", {dir / "cases"}, dir), "");
}

}  // namespace
}  // namespace mnm
