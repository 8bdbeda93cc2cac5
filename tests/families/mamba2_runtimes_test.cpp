// The runtimes table of Mamba-2 against what the writers themselves do with the same widths.
#include <gtest/gtest.h>

#include <algorithm>
#include <variant>

#include "export/gguf_writer.h"
#include "families/mamba2/runtimes.h"
#include "families/open_model.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

using test::TinyMamba2;

const RuntimeRule& rule_of(const std::vector<RuntimeRule>& rules, const std::string& runtime,
                           const std::string& dtype = "f32") {
  return *std::ranges::find_if(rules, [&](const RuntimeRule& rule) {
    return rule.runtime == runtime && std::ranges::count(rule.dtypes, dtype) == 1;
  });
}

TEST(Mamba2Runtimes, LoadWhatTheWritersWriteForThem) {
  const test::TempDir dir;
  std::vector<TinyMamba2> all = test::tiny_mamba2s();
  TinyMamba2 blocks;  // some widths of which are whole blocks of q8_0
  blocks.name = "blocks";
  blocks.hidden = 64;
  blocks.head_dim = 8;
  blocks.granularities = {16, 32, 64};
  all.push_back(blocks);
  std::size_t native = 0, files = 0, quantised = 0;
  for (const TinyMamba2& tiny : all) {
    const OpenedModel opened = open_model(tiny.write(dir / tiny.name));
    const std::vector<RuntimeRule> rules = opened.family->runtimes(opened.model);
    std::vector<Widths> choices;
    for (Width width = tiny.groups > 1 ? tiny.full() : tiny.step(); width <= tiny.full();
         width += tiny.step()) {
      choices.push_back(Widths(static_cast<std::size_t>(tiny.layers), width));
    }
    if (tiny.groups == 1 && tiny.layers == 3) {
      choices.push_back({tiny.full(), tiny.step(), tiny.full()});
    }
    for (const Widths& widths : choices) {
      SCOPED_TRACE(fmt::format("{} {}", tiny.name, to_string(widths)));
      EXPECT_FALSE(refusal_of(rule_of(rules, "transformers"), widths));
      EXPECT_FALSE(refusal_of(rule_of(rules, "onnxruntime"), widths));
      EXPECT_TRUE(refusal_of(rule_of(rules, "onnxruntime-genai"), widths));
      EXPECT_FALSE(
          std::get<OnnxModel>(opened.family->in_format("onnx", opened.model, widths, Dtype::kF32))
              .decoder);
      const bool stock = opened.family->huggingface_bridge(opened.model, widths).empty();
      EXPECT_EQ(!refusal_of(rule_of(rules, "transformers, stock"), widths), stock);
      native += stock ? 1 : 0;
      for (const GgufType type : {GgufType::kF32, GgufType::kQ8_0}) {
        const std::string refused = test::error_of([&] {
          plan_gguf(opened.model, opened.checkpoint, widths,
                    std::get<GgufModel>(
                        opened.family->in_format("gguf", opened.model, widths, Dtype::kF32)),
                    opened.family->huggingface_config(opened.model, widths, Dtype::kF32),
                    {type, {}});
        });
        const std::string dtype(to_string(type));
        EXPECT_EQ(!refusal_of(rule_of(rules, "llama.cpp", dtype), widths), refused.empty())
            << dtype << ": " << refused;
        (type == GgufType::kF32 ? files : quantised) += refused.empty() ? 1 : 0;
      }
    }
  }
  EXPECT_GT(native, 20u);
  EXPECT_GT(files, 100u);
  EXPECT_GE(quantised, 4u);
}

}  // namespace
}  // namespace mnm
