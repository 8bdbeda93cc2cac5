// GGUF files of Gemma 3n submodels, read back by our own reader and by the gguf package. llama.cpp
// itself is asked by scripts/llama-cpp.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "extract/extract.h"
#include "families/gemma3n/config.h"
#include "families/gemma3n/gguf.h"
#include "families/open_model.h"
#include "tests/families/expect_error.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_gemma3n.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TinyGemma3n;

std::unique_ptr<PlannedExport> planned(const OpenedModel& opened, const Widths& widths,
                                       GgufType type) {
  return plan_gguf(
      opened.model, opened.checkpoint, widths,
      std::get<GgufModel>(opened.family->in_format("gguf", opened.model, widths, Dtype::kF32)),
      opened.family->huggingface_config(opened.model, widths, Dtype::kF32), {type, {}});
}

void write_full(const OpenedModel& opened, const Widths& widths, const fs::path& directory) {
  const json config = opened.family->huggingface_config(opened.model, widths, Dtype::kF32);
  HuggingFaceOptions options;
  options.dtype = Dtype::kF32;
  fs::create_directories(directory);
  write_huggingface(plan_huggingface(opened.model, opened.checkpoint, widths,
                                     {{"config.json", config.dump()}}, options),
                    opened.checkpoint, directory);
}

std::string refusal_of(const json& config, const std::string& widths = "") {
  const Family& family = family_named("gemma3n");
  const NestedModel model = family.describe(config, {});
  const Widths chosen =
      widths.empty() ? model.space.full() : parse_widths(widths, model.space.layers.size());
  return gemma3n_gguf_refusal(family.submodel(model, chosen, Dtype::kF32));
}

TEST(Gemma3nGguf, HoldsEverySliceAndTheGgufPackageReadsIt) {
  if (!test::python_has("gguf-dump")) GTEST_SKIP() << test::kNoPython;
  struct Case {
    TinyGemma3n tiny;
    std::string widths;
  };
  const Case all[] = {
      {test::tiny_gemma3n_of_llama_cpp("full"), "512x23"},
      {test::tiny_gemma3n_of_llama_cpp("skips"), "256x21,-,256"},
      {test::tiny_gemma3n_of_llama_cpp("bare", 2, {{"mixnmatch_unused_kv", false}}), "128x22"},
      {test::tiny_gemma3n_of_llama_cpp("alone", 0, {{"tie_word_embeddings", false}}), "512x20"},
  };
  const test::TempDir dir;
  for (const auto& [tiny, text] : all) {
    const OpenedModel opened = open_model(tiny.write(dir / "models" / tiny.name));
    const Widths widths = parse_widths(text, opened.model.layers());
    for (const GgufType type : {GgufType::kF32, GgufType::kF16, GgufType::kBF16, GgufType::kQ8_0}) {
      SCOPED_TRACE(fmt::format("{} {}", tiny.name, to_string(type)));
      const fs::path place = dir / "cases" / fmt::format("{}-{}", tiny.name, to_string(type));
      fs::create_directories(place / "gguf");
      const auto plan = planned(opened, widths, type);
      plan->write(opened.checkpoint, place / "gguf");
      EXPECT_EQ(fs::file_size(place / "gguf" / kGgufFile), plan->files().at(kGgufFile));
      plan->check_layout(place / "gguf");
      const OpenedModel written = open_model(plan->reopen(place / "gguf"));
      // What reads the file computes as llama.cpp does.
      EXPECT_TRUE(parse_gemma3n_config(written.model.config, {}).sample_deviation);
      for (const TensorSlice& slice : plan->slices().tensors) {
        std::vector<float> expected = extract_f32(opened.checkpoint, slice);
        plan->round(slice, expected);
        const std::vector<float> found =
            test::values_of(written.checkpoint, written.checkpoint.at(slice.name));
        EXPECT_EQ(found, expected) << slice.spec->name;
      }
      write_full(opened, widths, place / "full");
    }
  }
  EXPECT_EQ(test::python_failure("families/gemma3n_gguf_check.py", {dir / "cases"}, dir), "");
}

TEST(Gemma3nGguf, WhatLlamaCppDoesNotComputeIsRefusedByItsReason) {
  const json fits = test::tiny_gemma3n_of_llama_cpp("fits").config;
  EXPECT_EQ(refusal_of(fits), "");
  EXPECT_EQ(refusal_of(fits, "256x20,-x3"), "");
  EXPECT_NE(refusal_of(fits, "512x22,256").find("first one's width"), std::string::npos);
  struct Other {
    json keys;
    std::string says;
  };
  const std::vector<std::string> full(23, "full_attention");
  std::vector<std::string> late = fits["layer_types"];
  std::swap(late[19], late[18]);  // the last full layer before sharing is the 18th
  std::vector<double> sparse = fits["activation_sparsity_pattern"];
  sparse[10] = 0.95;
  const std::string numbers = "4 streams";
  const Other others[] = {
      {{{"hidden_size_per_layer_input", 128}}, numbers},
      {{{"laurel_rank", 32}}, numbers},
      {{{"altup_num_inputs", 3}}, numbers},
      {{{"altup_active_idx", 1}}, numbers},
      {{{"altup_correct_scale", false}}, numbers},
      {{{"final_logit_softcapping", 20.0}}, numbers},
      {{{"num_kv_shared_layers", 4}, {"mixnmatch_may_skip", nullptr}}, "exactly 20 layers"},
      {{{"num_kv_shared_layers", 0}}, "exactly 20 layers"},
      {{{"activation_sparsity_pattern", std::vector<double>(23, 0.0)}}, "clips 95 %"},
      {{{"activation_sparsity_pattern", sparse}}, "clips 95 %"},
      {{{"layer_types", late}, {"mixnmatch_may_skip", nullptr}}, "of layer 18"},
      {{{"attention_bias", true}}, "no biases"},
      {{{"vocab_size_per_layer_input", 61}}, "a row for each word"},
  };
  for (const auto& [keys, says] : others) {
    json config = fits;
    config.merge_patch(keys);
    EXPECT_NE(refusal_of(config).find(says), std::string::npos)
        << keys.dump() << ": " << refusal_of(config);
  }
  const NestedModel model = family_named("gemma3n").describe(fits, {});
  const Widths mixed = parse_widths("256x10,512x13", 23);
  test::expect_error<Error>(
      [&] { family_named("gemma3n").in_format("gguf", model, mixed, Dtype::kF32); },
      "gguf cannot hold this submodel");
  // Whoever skips a layer is told of no list of 22 widths that nobody named.
  const NestedModel skips = family_named("gemma3n").describe(fits, {"", "5"});
  const std::string refused = test::error_of([&] {
    family_named("gemma3n").in_format("gguf", skips, parse_widths("512x5,-,512x17", 23),
                                      Dtype::kF32);
  });
  EXPECT_NE(refused.find("here are 19"), std::string::npos) << refused;
  EXPECT_EQ(refused.find("512"), std::string::npos) << refused;
  // A single gate has no deviation as of a sample.
  EXPECT_NE(refusal_of(fits, "1x23").find("0 divided by 0"), std::string::npos);
  EXPECT_EQ(refusal_of(fits, "2x23"), "");
  // Copies of gates make whole multiples alone.
  EXPECT_EQ(family_named("gemma3n").why_not_padded(model, mixed), "");
  EXPECT_NE(family_named("gemma3n")
                .why_not_padded(model, parse_widths("192x10,512x13", 23))
                .find("512 is no multiple of 192"),
            std::string::npos);
}

}  // namespace
}  // namespace mnm
