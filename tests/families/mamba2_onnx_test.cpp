// The scorer of Mamba-2 submodels in ONNX Runtime, against the recurrence in double.
#include <gtest/gtest.h>

#include <filesystem>
#include <variant>

#include "export/onnx_writer.h"
#include "families/mamba2/onnx.h"
#include "families/open_model.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::TinyMamba2;

TEST(Mamba2Onnx, OnnxRuntimeComputesTheSubmodel) {
  const test::TempDir dir;
  std::size_t cases = 0;
  for (const TinyMamba2& tiny : test::tiny_mamba2s()) {
    TinyMamba2 renamed = tiny;  // the reference has a Hugging Face config, so it has its names
    renamed.mamba_ssm = renamed.matmamba = false;
    if (tiny.dtype != Dtype::kF32) continue;
    const OpenedModel opened = open_model(tiny.write(dir / "models" / tiny.name));
    std::vector<Widths> choices = {opened.model.space.full()};
    if (tiny.groups == 1 && tiny.layers == 3) {
      choices.push_back({tiny.step(), tiny.full(), tiny.full() - tiny.step()});
    }
    for (const Widths& widths : choices) {
      for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
        if (dtype != Dtype::kF32 && tiny.name != "plain") continue;
        SCOPED_TRACE(fmt::format("{} {}", tiny.name, to_string(widths)));
        const fs::path place = dir / "cases" / fmt::format("{}-{}", tiny.name, ++cases);
        fs::create_directories(place / "onnx");
        const auto plan = plan_onnx(
            opened.model, opened.checkpoint, widths,
            std::get<OnnxModel>(opened.family->in_format("onnx", opened.model, widths, dtype)),
            opened.family->huggingface_config(opened.model, widths, dtype),
            {dtype, {{"mixnmatch.widths", to_string(widths)}}});
        plan->write(opened.checkpoint, place / "onnx");  // the ONNX library checks it
        const OpenedModel written = open_model(plan->reopen(place / "onnx"));
        EXPECT_EQ(written.model.space.full(), widths);
        test::write_checkpoint(place / "full", renamed.config(),
                               renamed.tensors_at(opened.model.space.full()));
        test::spew(place / "case.json",
                   nlohmann::json{{"widths", widths}, {"dtype", to_string(dtype)}}.dump());
      }
    }
  }
  ASSERT_GT(cases, 20u);
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  EXPECT_EQ(test::python_failure("families/mamba2_onnx_check.py", {dir / "cases"}, dir), "");
}

}  // namespace
}  // namespace mnm
