// Gemma 3n as a user meets it: from a config alone, and tiny checkpoints through every command.
#include <fmt/format.h>

#include <algorithm>

#include "export/huggingface.h"
#include "families/open_model.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/tiny_gemma3n.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

const std::string kShapes = MNM_SOURCE_DIR "/data/shapes/";

class Gemma3nWorkshop : public Workshop {
 protected:
  // As released: towers, a text model of bytes, and q_norms that keep scores moderate.
  std::string released() {
    TinyGemma3n tiny = tiny_gemma3n_multimodal("tiny");
    tiny.config["text_config"]["vocab_size"] = 260;
    tiny.config["text_config"]["vocab_size_per_layer_input"] = 256;
    std::vector<TestTensor> tensors = tiny.tensors();
    tensors.push_back(
        random_tensor("model.vision_tower.timm_model.conv_stem.weight", {5, 3}, 1, 1, Dtype::kF16));
    tensors.push_back(random_tensor("model.embed_audio.embedding.weight", {7, 9}, 2));
    write_checkpoint(dir_ / "tiny", tiny.config, tensors);
    return path("tiny");
  }
  std::vector<std::string> on_data(std::vector<std::string> words) const {
    for (const std::string& word :
         {std::string("--data"), search_, std::string("--token-format"), std::string("bytes"),
          std::string("--context"), std::string("32"), std::string("--threads"),
          std::string("1")}) {
      words.push_back(word);
    }
    return words;
  }
};

TEST_F(Gemma3nWorkshop, AConfigAloneIsInspectedAndPlanned) {
  const std::string e4b = kShapes + "gemma3n-e4b.json";
  const nlohmann::json seen = expect_done({"inspect", e4b, "--json"}).json();
  ASSERT_EQ(seen["published"].size(), 16u);
  for (const nlohmann::json& row : seen["published"]) {
    EXPECT_NEAR(row["non_embedding"].get<double>() * 1e-9, row["stated"].get<double>(), 0.02);
  }
  EXPECT_EQ(seen["layer_embeddings"], 35 * 67'108'864LL);
  const Result planned =
      expect_done({"export", e4b, "--widths", "8192x20,-x5,8192x10", "--dry-run", "--no-check"});
  EXPECT_NE(planned.out.find("4456156768 parameters"), std::string::npos) << planned.out;
  EXPECT_LT(planned.max_resident_kib, 64 * 1024);
  expect_refused({"export", e4b, "--widths", "8192x18,-,8192x16", "--dry-run"}, 2,
                 "layer 18 may not be skipped");
}

TEST_F(Gemma3nWorkshop, SharedScoresAreThoseOfOneByOne) {
  const std::string model = released();
  const std::vector<std::string> command =
      on_data({"eval", model, "--widths", "uniform", "--widths", "48x3,96x5", "--widths",
               "96,-x2,96x2,-,64,-", "--json"});
  std::vector<std::string> alone = command, streamed = command;
  alone.push_back("--one-by-one");
  streamed.push_back("--stream");
  const nlohmann::json together = expect_done(command).json();
  for (const auto& other : {alone, streamed}) {
    const nlohmann::json rows = expect_done(other).json();
    ASSERT_EQ(rows.size(), together.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_NEAR(rows[i]["loss"].get<double>(), together[i]["loss"].get<double>(), 1e-4);
    }
  }
}

TEST_F(Gemma3nWorkshop, IsSearchedAndExportedWithItsTowers) {
  const std::string model = released();
  expect_done({"search", model, "--data", search_, "--confirm", confirm_, "--token-format", "bytes",
               "--context", "32", "--threads", "1", "--max-evaluations", "24", "--cost",
               "effective", "--db", db_});
  expect_done({"export", model, "--best", "--db", db_, "--out", path("best"), "--threads", "1"});
  const OpenedModel full = open_model(model), best = open_model(path("best"));
  for (const std::string name :
       {"model.vision_tower.timm_model.conv_stem.weight", "model.embed_audio.embedding.weight"}) {
    const StoredTensor& from = full.checkpoint.at(name);
    const StoredTensor& to = best.checkpoint.at(name);
    EXPECT_EQ(from.dtype, to.dtype);
    EXPECT_TRUE(std::ranges::equal(from.data, to.data)) << name;
  }
  expect_done({"export", model, "--widths", "48x8", "--text-only", "--out", path("text"),
               "--threads", "1"});
  const OpenedModel text = open_model(path("text"));
  EXPECT_EQ(text.checkpoint.find("model.vision_tower.timm_model.conv_stem.weight"), nullptr);
  EXPECT_EQ(text.model.config["model_type"], "gemma3n_text");
  expect_done({"export", model, "--widths", "48,96x7", "--format", "onnx", "--out", path("onnx"),
               "--threads", "1"});
  expect_refused({"export", model, "--widths", "48,96x7", "--format", "gguf", "--out", path("g")},
                 1, "gemma3n");
}

TEST_F(Gemma3nWorkshop, IsMadeTrainedAndGeneratedFrom) {
  nlohmann::json config = tiny_gemma3n_text();
  config["vocab_size"] = config["vocab_size_per_layer_input"] = 256;
  spew(path("shape.json"), config.dump());
  expect_done({"random", path("shape.json"), "--out", path("fresh")});
  expect_done({"train",           path("shape.json"),
               "--tokens",        search_,
               "--token-format",  "bytes",
               "--out",           path("run"),
               "--steps",         "60",
               "--batch",         "4",
               "--context",       "16",
               "--schedule",      "sandwich",
               "--learning-rate", "0.003",
               "--warmup",        "5",
               "--threads",       "1"});
  const auto loss = [&](const std::string& model) {
    return expect_done(on_data({"eval", path(model), "--widths", "96", "--json"}))
        .json()[0]["loss"]
        .get<double>();
  };
  EXPECT_LT(loss("run/model"), loss("fresh") - 0.05);
  expect_done({"nest", path("run/model"), "--force", "--data", search_, "--token-format", "bytes",
               "--context", "16", "--threads", "1", "--out", path("nested")});
  EXPECT_NEAR(loss("nested"), loss("run/model"), 1e-3);  // of bf16 weights in another order
  expect_done({"generate", path("run/model"), "--tokens", "65,66,67", "--max-new-tokens", "20",
               "--ignore-end", "--threads", "1"});
}

}  // namespace
}  // namespace mnm::test
