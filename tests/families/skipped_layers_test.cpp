// Submodels that leave layers out, in every format: renumbered, whole, as cheap as they say, and
// judged by other people's runtimes.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "export/onnx_writer.h"
#include "extract/extract.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "tests/support/python.h"
#include "tests/support/tiny_llama.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

std::unique_ptr<PlannedExport> planned(const OpenedModel& opened, const Widths& widths,
                                       const std::string& format) {
  const NestedModel& model = opened.model;
  FormatModel stated = opened.family->in_format(format, model, widths, Dtype::kF32);
  const nlohmann::json config = opened.family->huggingface_config(model, widths, Dtype::kF32);
  if (const auto* gguf = std::get_if<GgufModel>(&stated)) {
    return plan_gguf(model, opened.checkpoint, widths, *gguf, config, {GgufType::kF32, {}});
  }
  if (const auto* onnx = std::get_if<OnnxModel>(&stated)) {
    return plan_onnx(model, opened.checkpoint, widths, *onnx, config, {Dtype::kF32, {}});
  }
  auto [json, texts, auto_class] = std::get<HuggingFaceTexts>(std::move(stated));
  const bool bridged = !texts.empty();
  texts["config.json"] = json.dump();
  HuggingFaceOptions options;
  options.dtype = Dtype::kF32;
  options.shard_bytes = 4096;  // several files, so that the index names tensors too
  return huggingface_export(
      plan_huggingface(model, opened.checkpoint, widths, std::move(texts), options), bridged);
}

// The number of a tensor's layer by its name, in Hugging Face's spelling; -1: none.
int layer_of(const std::string& name) {
  const std::size_t at = name.find(".layers.");
  return at == name.npos ? -1 : std::stoi(name.substr(at + 8));
}

// What was written is the slices of the kept layers, numbered from 0 on, and costs what the nested
// model says of it.
void check_written(const OpenedModel& opened, const Widths& widths, const PlannedExport& plan,
                   const fs::path& place) {
  plan.check_layout(place);
  const OpenedModel written = open_model(plan.reopen(place));
  const Widths kept = kept_widths(widths);
  EXPECT_EQ(written.model.space.full(), kept);
  EXPECT_EQ(written.checkpoint.tensors().size(), plan.slices().tensors.size());
  std::vector<int> sources;  // [kept]: layer of the nested model
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    if (widths[layer] != kSkip) sources.push_back(static_cast<int>(layer));
  }
  for (const TensorSpec& spec : written.model.table.tensors) {
    std::string source = spec.name;  // the same tensor in the nested model
    if (const int layer = layer_of(spec.name); layer >= 0) {
      const std::string own = fmt::format(".layers.{}.", layer);
      source.replace(source.find(own), own.size(),
                     fmt::format(".layers.{}.", sources.at(static_cast<std::size_t>(layer))));
    }
    const TensorSlice* slice = plan.slices().find(source);
    ASSERT_NE(slice, nullptr) << source;
    EXPECT_EQ(slice->name, spec.name);
    const TensorSlice whole{&spec, spec.name, -1, {}, spec.shape};
    const StoredTensor& stored = written.checkpoint.at(spec.name);
    std::vector<std::byte> bytes(static_cast<std::size_t>(whole.elements()) * sizeof(float));
    written.checkpoint.read(stored, 0, bytes);
    std::vector<float> found(static_cast<std::size_t>(whole.elements()));
    to_f32(bytes, Dtype::kF32, found);
    std::vector<float> expected = extract_f32(opened.checkpoint, *slice);
    plan.round(*slice, expected);
    EXPECT_EQ(found, expected) << spec.name;
  }
  const CostBasis basis{Dtype::kF32, 40};
  const Cost own = cost_of(written.model, kept, basis), told = cost_of(opened.model, widths, basis);
  for (const CostKind kind : kExactCosts) EXPECT_EQ(own.of(kind), told.of(kind)) << to_string(kind);
  EXPECT_EQ(own.kv_bytes, told.kv_bytes);
  EXPECT_EQ(own.state_bytes, told.state_bytes);
}

TEST(SkippedLayers, AreGoneFromEveryFormat) {
  const TempDir dir;
  struct Case {
    std::string name;
    Widths widths;
    std::vector<std::string> formats;
  };
  const auto write = [&](const auto& tiny, const Case& c) {
    SCOPED_TRACE(c.name);
    const fs::path place = dir / "cases" / c.name;
    const OpenedModel opened = open_model(tiny.write(place / "full"), {.may_skip = "0-1,3"});
    for (const std::string& format : c.formats) {
      SCOPED_TRACE(format);
      const auto plan = planned(opened, c.widths, format);
      fs::create_directories(place / format);
      plan->write(opened.checkpoint, place / format);
      check_written(opened, c.widths, *plan, place / format);
    }
    const nlohmann::json facts = {{"widths", c.widths}};
    test::spew(place / "case.json", facts.dump());
  };
  const std::vector<std::string> all = {"huggingface", "onnx", "gguf"};
  test::TinyLlama llama;
  llama.layers = 4;
  llama.kv_heads = 2;
  write(llama, {"llama-first", {kSkip, 8, 8, 8}, all});
  write(llama, {"llama-last", {32, 4, 16, kSkip}, all});
  write(llama, {"llama-one", {kSkip, kSkip, 16, kSkip}, all});
  llama.full = 512;
  llama.granularities = {256, 512};
  write(llama, {"llama-blocks", {256, kSkip, 512, 256}, {"decilm"}});
  test::TinyMamba2 mamba2;
  mamba2.layers = 4;
  write(mamba2, {"mamba2-middle", {8, kSkip, 8, 8}, all});
  write(mamba2, {"mamba2-ends", {kSkip, 2, 16, kSkip}, {"huggingface", "onnx"}});

  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  EXPECT_EQ(test::python_failure("families/skipped_layers_check.py", {dir / "cases"}, dir), "");
}

}  // namespace
}  // namespace mnm
