#include <gtest/gtest.h>

#include <fstream>
#include <variant>

#include "base/error.h"
#include "families/llama/decilm.h"
#include "families/open_model.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::TinyLlama;

TEST(DeciLm, FfnMultIsThatOfPublishedCheckpoints) {
  // config.json of Llama-3_3-Nemotron-Super-49B-v1, hidden size 8192.
  EXPECT_EQ(width_of_ffn_mult(5.25, 8192), 28672);
  EXPECT_EQ(width_of_ffn_mult(2.625, 8192), 14336);
  EXPECT_EQ(width_of_ffn_mult(3.28125, 8192), 17920);
  EXPECT_EQ(ffn_mult_of_width(28672, 8192), 5.25);
  EXPECT_EQ(ffn_mult_of_width(14336, 8192), 2.625);
  EXPECT_EQ(ffn_mult_of_width(17920, 8192), 3.28125);
}

TEST(DeciLm, EveryMultipleOf256HasAnFfnMultThatReadersUndo) {
  const test::TempDir dir;
  std::ofstream table(dir / "table");
  for (const std::int64_t hidden :
       {1, 7, 64, 96, 128, 576, 768, 1000, 1600, 2048, 2560, 3072, 4096, 5120, 6144, 8192, 16384}) {
    for (Width width = 256; width <= 131072; width += 256) {
      const double mult = ffn_mult_of_width(width, hidden);
      EXPECT_EQ(width_of_ffn_mult(mult, hidden), width);
      table << hidden << ' ' << width << ' ' << nlohmann::json(mult).dump() << '\n';
    }
  }
  table.close();
  if (!test::python_has("python")) GTEST_SKIP() << test::kNoPython;
  EXPECT_EQ(test::python_failure("families/decilm_check.py", {dir / "table"}, dir), "");
}

TEST(DeciLm, OtherWidthsAreRefusedWithTheNearest) {
  EXPECT_TRUE(contains(error_of([] { ffn_mult_of_width(300, 128); }), "256 and 512"));
  EXPECT_TRUE(contains(error_of([] { ffn_mult_of_width(64, 128); }), "nearest are 256"));
  for (const double mult : {0.0, -1.0, 1e-9, 1e12, HUGE_VAL, std::nan("")}) {
    EXPECT_THROW(width_of_ffn_mult(mult, 128), Error) << mult;
  }
}

// A model whose widths block_configs can say.
TinyLlama wide() {
  TinyLlama llama;
  llama.full = 768;
  llama.granularities = {256, 512, 768};
  llama.kv_heads = 2;
  return llama;
}

TEST(DeciLm, WhatIsWrittenIsReadAsTheSameModel) {
  for (TinyLlama llama : test::tiny_llamas()) {
    if (llama.act_of_product) continue;
    llama.full = 768;
    if (!llama.granularities.empty()) llama.granularities = {256, 512, 768};
    SCOPED_TRACE(llama.name);
    const Family& family = family_named("llama");
    const NestedModel model = family.describe(llama.config(), {});
    Widths widths(static_cast<std::size_t>(llama.layers), 512);
    if (llama.layers == 3) widths = {256, 768, 512};
    const HuggingFaceTexts written =
        std::get<HuggingFaceTexts>(family.in_format("decilm", model, widths, llama.dtype));
    EXPECT_EQ(written.config["architectures"], nlohmann::json({"DeciLMForCausalLM"}));
    EXPECT_EQ(written.config["model_type"], "nemotron-nas");
    EXPECT_TRUE(written.config["intermediate_size"].is_null());
    ASSERT_TRUE(family.recognizes(written.config));
    const NestedModel again = family.describe(written.config, {});
    const NestedModel own =
        family.describe(family.huggingface_config(model, widths, llama.dtype), {});
    EXPECT_EQ(again.space.full(), widths);
    EXPECT_EQ(again.dtype, own.dtype);
    ASSERT_EQ(again.table.tensors.size(), own.table.tensors.size());
    for (std::size_t i = 0; i < own.table.tensors.size(); ++i) {
      EXPECT_EQ(again.table.tensors[i].name, own.table.tensors[i].name);
      EXPECT_EQ(again.table.tensors[i].shape, own.table.tensors[i].shape);
    }
    // Cut again, it is what the nested model gives.
    const Widths less(widths.size(), 256);
    EXPECT_EQ(family.huggingface_config(again, less, llama.dtype),
              family.huggingface_config(own, less, llama.dtype));
  }
}

TEST(DeciLm, BlocksThatAreNotComputedHereAreRefusedByName) {
  const Family& family = family_named("llama");
  const nlohmann::json sound =
      std::get<HuggingFaceTexts>(family.in_format("decilm", family.describe(wide().config(), {}),
                                                  {256, 512, 768}, Dtype::kF32))
          .config;
  struct Case {
    const char* at;
    nlohmann::json value;
    const char* phrase;
  };
  const Case cases[] = {
      {"/block_configs", nullptr, "block_configs is missing"},
      {"/block_configs", nlohmann::json::array(), "one for each of the 3"},
      {"/block_configs/1", 7, "block_configs[1]"},
      {"/block_configs/1/ffn", nullptr, "block_configs[1].ffn is missing"},
      {"/block_configs/1/ffn/no_op", true, "block_configs[1].ffn.no_op"},
      {"/block_configs/1/attention/no_op", true, "block_configs[1].attention.no_op"},
      {"/block_configs/2/ffn/replace_with_linear", true, "replace_with_linear"},
      {"/block_configs/2/attention/window_length", 128, "window_length"},
      {"/block_configs/2/attention/n_heads_in_group", 4, "n_heads_in_group is 4, expected 2"},
      {"/block_configs/2/attention/n_heads_in_group", 0, "n_heads_in_group"},
      {"/block_configs/0/ffn/ffn_mult", "5", "ffn_mult"},
      {"/block_configs/0/ffn/ffn_mult", -1, "ffn_mult"},
      {"/block_configs/0/ffn/ffn_mult", 1e300, "ffn_mult"},
      {"/block_configs/0/ffn/hidden_act", "gelu", "hidden_act"},
      {"/position_embedding_type", "mistral_yarn", "position_embedding_type"},
  };
  EXPECT_EQ(error_of([&] { family.describe(sound, {}); }), "");
  for (const Case& c : cases) {
    nlohmann::json broken = sound;
    broken[nlohmann::json::json_pointer(c.at)] = c.value;
    const std::string error = error_of([&] { family.describe(broken, {}); });
    EXPECT_TRUE(contains(error, c.phrase)) << c.at << ": " << error;
  }
  nlohmann::json later = sound;  // as NVIDIA's newer tools spell it
  later["block_configs"][0]["ffn"].erase("ffn_mult");
  later["block_configs"][0]["ffn"]["intermediate_size"] = 256;
  EXPECT_EQ(family.describe(later, {}).space.full(), (Widths{256, 512, 768}));

  TinyLlama other = wide();
  other.act_of_product = true;
  const NestedModel model = family.describe(other.config(), {});
  EXPECT_TRUE(contains(error_of([&] {
                         family.in_format("decilm", model, {256, 256, 256}, Dtype::kF32);
                       }),
                       "act(gate*up)"));
  const NestedModel plain = family.describe(wide().config(), {});
  EXPECT_TRUE(contains(error_of([&] {
                         family.in_format("decilm", plain, {256, 300, 256}, Dtype::kF32);
                       }),
                       "layer 1: "));
}

TEST(DeciLm, TransformersComputesItWithTheBridge) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const test::TempDir dir;
  const Family& family = family_named("llama");
  for (TinyLlama llama : test::tiny_llamas()) {
    if (llama.name != "gqa" && llama.name != "mlp_bias" && llama.name != "llama3_old") continue;
    llama.full = 768;
    llama.granularities = {256, 512, 768};
    const Widths widths = {256, 768, 512};
    const std::filesystem::path place = dir / "cases" / llama.name;
    nlohmann::json stock = llama.config();
    test::write_checkpoint(place / "full", stock, llama.tensors());
    const auto [config, bridge, auto_class] = std::get<HuggingFaceTexts>(
        family.in_format("decilm", family.describe(llama.config(), {}), widths, llama.dtype));
    test::write_checkpoint(place / "submodel", config, llama.tensors_at(widths));
    for (const auto& [file, text] : bridge) test::spew(place / "submodel" / file, text);
    const nlohmann::json facts = {{"widths", widths}, {"gate", "act(gate)*up"}};
    test::spew(place / "case.json", facts.dump());
  }
  EXPECT_EQ(test::python_failure("families/bridge_check.py", {dir / "cases"}, dir), "");
}

// A rule that says yes must be borne out by the writer, and one that says no by its refusal, where
// the format itself is what refuses.
TEST(LlamaRuntimes, AgreeWithTheWriters) {
  const Family& family = family_named("llama");
  for (TinyLlama llama : test::tiny_llamas()) {
    if (llama.granularities.empty()) continue;
    llama.full = 768;
    llama.granularities = {64, 256, 300, 768};
    const NestedModel model = family.describe(llama.config(), {});
    const auto layers = static_cast<std::size_t>(llama.layers);
    for (const Widths& widths : {Widths(layers, 64), Widths(layers, 300), Widths(layers, 256),
                                 layers == 3 ? Widths{256, 768, 256} : Widths(layers, 768)}) {
      for (const RuntimeRule& rule : family.runtimes(model)) {
        SCOPED_TRACE(fmt::format("{} {} {}", llama.name, to_string(widths), rule.runtime));
        const bool loads = !refusal_of(rule, widths);
        if (rule.format == "decilm" && rule.runtime == "transformers") {
          EXPECT_EQ(
              error_of([&] { family.in_format("decilm", model, widths, Dtype::kF32); }).empty(),
              loads);
        }
        if (rule.format == "gguf" && rule.dtypes.front() != "q8_0") {
          EXPECT_EQ(error_of([&] { family.in_format("gguf", model, widths, Dtype::kF32); }).empty(),
                    loads);
          if (loads) {
            EXPECT_TRUE(
                contains(is_uniform(widths) ? rule.uniform_as : rule.mixed_as,
                         std::get<GgufModel>(family.in_format("gguf", model, widths, Dtype::kF32))
                             .architecture));
          }
        }
        if (rule.runtime == "transformers, stock") {
          EXPECT_EQ(family.huggingface_bridge(model, widths).empty(), loads);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mnm
