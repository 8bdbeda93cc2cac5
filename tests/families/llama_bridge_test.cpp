// What is exported, judged by transformers: stock code for equal widths, the bridge for others.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "families/family.h"
#include "tests/support/python.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using test::TinyLlama;

TEST(LlamaBridge, TransformersComputesTheSubmodel) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  const Family& llama = family_named("llama");
  const auto write = [&](const TinyLlama& tiny, const Widths& widths, const std::string& name) {
    nlohmann::json stock = tiny.config();
    stock.erase("matformer_gate");
    test::write_checkpoint(dir / "cases" / name / "full", stock, tiny.tensors());

    const NestedModel model = llama.describe(tiny.config(), {});
    const std::filesystem::path submodel = dir / "cases" / name / "submodel";
    test::write_checkpoint(submodel, llama.huggingface_config(model, widths, tiny.dtype),
                           tiny.tensors_at(widths));
    for (const auto& [file, text] : llama.huggingface_bridge(model, widths)) {
      test::spew(submodel / file, text);
    }
    const nlohmann::json facts = {{"widths", widths},
                                  {"gate", tiny.act_of_product ? "act(gate*up)" : "act(gate)*up"}};
    test::spew(dir / "cases" / name / "case.json", facts.dump());
  };
  // The bridge replaces the FFN and nothing else, so its variants are the FFN's.
  const std::set<std::string> mixed = {"plain", "mlp_bias", "act_of_product", "everything"};
  const std::set<std::string> uniform = {"plain", "rope_theta_old", "llama3_new", "act_of_product"};
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    if (mixed.contains(tiny.name)) write(tiny, {4, 32, 7}, tiny.name + "_mixed");
    if (uniform.contains(tiny.name)) write(tiny, {8, 8, 8}, tiny.name + "_uniform");
  }

  EXPECT_EQ(test::python_failure("families/bridge_check.py", {dir / "cases"}, dir), "");
}

}  // namespace
}  // namespace mnm
