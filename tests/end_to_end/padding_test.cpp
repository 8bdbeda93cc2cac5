// Mixed widths for programs that take one width for all layers, or widths from per_layer_config.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "families/open_model.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

class Padding : public Workshop {
 protected:
  double loss_of(const std::string& model, const std::string& widths) {
    const Result scored = expect_done({"eval", model, "--data", search_, "--context", "32",
                                       "--widths", widths, "--threads", "1", "--json"});
    return nlohmann::json::parse(scored.out)[0]["loss"].get<double>();
  }
};

TEST_F(Padding, APaddedSubmodelIsTheSubmodel) {
  const std::string widths = "8x1,16x2,4x1";
  const Result done = expect_done({"export", model_, "--widths", widths, "--pad-to-uniform",
                                   "--out", path("padded"), "--threads", "1"});
  EXPECT_NE(done.out.find("padded: 8,16x2,4"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find("the nested model at these widths differs from it by"), std::string::npos)
      << done.out;
  const nlohmann::json config = read_json(dir_ / "padded/config.json");
  EXPECT_EQ(config["architectures"], nlohmann::json({"LlamaForCausalLM"}));
  EXPECT_FALSE(config.contains("auto_map"));
  const OpenedModel padded = open_model(dir_ / "padded");
  EXPECT_EQ(padded.model.space.full(), Widths(4, 16));
  for (const auto& [layer, width] : {std::pair(0, 8), {1, 16}, {3, 4}}) {
    const StoredTensor& up =
        padded.checkpoint.at(fmt::format("model.layers.{}.mlp.up_proj.weight", layer));
    const std::vector<float> values = values_of(padded.checkpoint, up);
    const std::int64_t columns = up.shape[1];
    for (std::int64_t row = 0; row < up.shape[0]; ++row) {
      const bool zeros =
          std::all_of(values.begin() + row * columns, values.begin() + (row + 1) * columns,
                      [](float value) { return value == 0; });
      EXPECT_EQ(zeros, row >= width) << layer << " " << row;
    }
  }
  // A mean over 256 tokens of f32 losses near 5.5, whose products are summed in another order.
  EXPECT_NEAR(loss_of(path("padded"), "16"), loss_of(model_, widths), 5.5 * 64 * 0x1p-24);
  EXPECT_NE(loss_of(model_, "16"), loss_of(model_, widths));
  // Nothing else is left beside it.
  for (const auto& entry : fs::directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.path().filename().string().find("partial"), std::string::npos) << entry.path();
  }
}

TEST_F(Padding, LayersThatDifferInTheSourceArePadded) {
  const std::string widths = "8x1,16x2,4x1";
  expect_done({"export", model_, "--widths", widths, "--out", path("mixed"), "--threads", "1"});
  expect_done({"export", model_, "--widths", widths, "--per-layer-config", "--out",
               path("per-layer"), "--threads", "1"});
  for (const std::string source : {"mixed", "per-layer"}) {
    for (const std::string chosen : {"8,16x2,4", "4,8,16,4"}) {
      const std::string out = path(source + " at " + chosen);
      expect_done({"export", path(source), "--widths", chosen, "--pad-to-uniform", "--out", out,
                   "--threads", "1"});
      EXPECT_EQ(open_model(out).model.space.full(), Widths(4, 16));
      EXPECT_FALSE(read_json(fs::path(out) / "config.json").contains("auto_map"));
      EXPECT_NEAR(loss_of(out, "16"), loss_of(model_, chosen), 5.5 * 64 * 0x1p-24);
    }
  }
  EXPECT_NE(loss_of(model_, "8,16x2,4"), loss_of(model_, "4,8,16,4"));
}

TEST_F(Padding, BlockConfigsArePadded) {
  TinyLlama wide = llama_;
  wide.layers = 3;
  wide.full = 768;
  wide.granularities = {256, 512, 768};
  const std::string model = wide.write(dir_ / "wide").string(), widths = "256,768,512";
  expect_done({"export", model, "--widths", widths, "--format", "decilm", "--out", path("decilm"),
               "--threads", "1"});
  const Result done = expect_done({"export", path("decilm"), "--widths", widths, "--pad-to-uniform",
                                   "--out", path("padded"), "--threads", "1"});
  EXPECT_NE(done.out.find("the nested model at these widths differs from it by"), std::string::npos)
      << done.out;
  const OpenedModel padded = open_model(dir_ / "padded");
  EXPECT_EQ(padded.model.space.full(), Widths(3, 768));
  // What a layer has stays as it was, row by row of down_proj, and zeros follow.
  const Checkpoint own = Checkpoint::open(dir_ / "decilm");
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  const std::vector<float> before = values_of(own, own.at(name));
  const std::vector<float> after = values_of(padded.checkpoint, padded.checkpoint.at(name));
  ASSERT_EQ(after.size(), 3 * before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    const std::size_t row = i / 768, column = i % 768;
    EXPECT_EQ(after[i], column < 256 ? before[row * 256 + column] : 0) << i;
  }
}

TEST_F(Padding, EveryFormatTakesAPaddedSubmodel) {
  for (const char* format : {"gguf", "onnx"}) {
    const Result done =
        expect_done({"export", model_, "--widths", "8x1,16x2,4x1", "--pad-to-uniform", "--format",
                     format, "--out", path(format), "--threads", "1"});
    EXPECT_NE(done.out.find("padded: "), std::string::npos) << done.out;
  }
}

TEST_F(Padding, WhatCannotBePaddedIsSaid) {
  const std::string mamba = TinyMamba2().write(dir_ / "mamba").string();
  const OpenedModel opened = open_model(mamba);
  const Widths full = opened.model.space.full();
  expect_refused(
      {"export", mamba, "--widths", to_string(full), "--pad-to-uniform", "--out", path("none")}, 1,
      "the norm of a layer's gated output runs over its width");
  expect_refused({"export", model_, "--widths", "8", "--pad-to-uniform", "--dry-run"}, 2,
                 "--pad-to-uniform writes");
  EXPECT_FALSE(fs::exists(path("none")));
}

TEST_F(Padding, PerLayerConfigIsWrittenOnRequestAndRead) {
  const Result done =
      expect_done({"export", model_, "--widths", "8x1,16x2,4x1", "--per-layer-config", "--out",
                   path("per-layer"), "--threads", "1"});
  EXPECT_EQ(done.out.find("from_pretrained"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find("will not load"), std::string::npos) << done.out;
  const nlohmann::json config = read_json(dir_ / "per-layer/config.json");
  EXPECT_EQ(config["intermediate_size"], 16);
  EXPECT_EQ(
      config["per_layer_config"],
      nlohmann::json::parse(R"({"0": {"intermediate_size": 8}, "3": {"intermediate_size": 4}})"));
  EXPECT_FALSE(config.contains("auto_map"));
  EXPECT_EQ(open_model(dir_ / "per-layer").model.space.full(), (Widths{8, 16, 16, 4}));
  expect_refused({"export", model_, "--widths", "8", "--per-layer-config", "--format", "gguf",
                  "--out", path("none")},
                 2, "--per-layer-config is of --format huggingface");
}

}  // namespace
}  // namespace mnm::test
