// Gemma 3n as a user meets it: from a config alone, and tiny checkpoints through every command.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "export/huggingface.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/gemma_tokenizer.h"
#include "tests/support/python.h"
#include "tests/support/resident.h"
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
  EXPECT_NE(planned.err.find("a config says nothing of their tensors"), std::string::npos);
  EXPECT_LT(planned.max_resident_kib, 64 * 1024);
  expect_refused({"export", e4b, "--widths", "8192x18,-,8192x16", "--dry-run"}, 2,
                 "layer 18 may not be skipped");
  const std::string layers = expect_done({"inspect", e4b}).out;
  EXPECT_NE(layers.find("widths       layers 0 to 19: 8192, 16384, and any width below; layers 20 "
                        "to 24: 8192, 16384, and any width below, or left out; layers 25 to 34: "),
            std::string::npos)
      << layers;
  std::map<std::string, std::string> known;
  for (const nlohmann::json& taker : seen["takers"]) {
    known[taker["runtime"].get<std::string>()] = taker["evidence"].get<std::string>();
  }
  EXPECT_EQ(known["transformers"], "run");
  for (const char* runtime : {"vLLM", "mistral.rs", "mlx-lm", "LiteRT-LM"}) {
    EXPECT_EQ(known[runtime], "read") << runtime;
  }
}

// Google's E2B has fewer parameters than any least-slope submodel of all layers.
TEST_F(Gemma3nWorkshop, ABudgetBelowAllLayersLeavesLayersOut) {
  const std::string e4b = kShapes + "gemma3n-e4b.json";
  const auto planned = [&](const std::string& budget) {
    return std::vector<std::string>{"export", e4b,         "--budget",  budget,
                                    "--cost", "effective", "--dry-run", "--no-check"};
  };
  const std::string says = ": no least-slope submodel of all layers is within the budget";
  for (const auto& [budget, widths] :
       std::vector<std::pair<std::string, std::string>>{{"1.95B", "8192x20,-x5,8192x10"},
                                                        {"2.0B", "8192x20,-x5,8192x9,16384"},
                                                        {"bytes=9GB", "8192x20,-x5,8192x"},
                                                        {"flops=5G", "8192x20,-x5,8192x"}}) {
    const std::string out = expect_done(planned(budget)).out;
    EXPECT_TRUE(out.starts_with(widths)) << out;
    EXPECT_NE(out.find(says), std::string::npos) << out;
  }
  EXPECT_EQ(expect_done(planned("2.6B")).out.find(says), std::string::npos);
  expect_refused(planned("1B"), 2,
                 "no least-slope submodel is within the budget of 1000000000 non-embedding: the "
                 "smallest, 8192x20,-x5,8192x10, takes 1905495648, and the smallest of untrained "
                 "widths, 1x20,-x5,1x10, takes 395730528");
  expect_refused(planned("100M"), 2,
                 "no submodel is within the budget of 100000000 non-embedding: the smallest, "
                 "1x20,-x5,1x10, takes 395730528");
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

// Layers that clip their gates repeat these, the others add zeros.
TEST_F(Gemma3nWorkshop, MixedWidthsArePaddedToOne) {
  TinyGemma3n tiny = tiny_gemma3n("bytes", {{"vocab_size", 256}});
  const std::string model = tiny.write(dir_ / "bytes").string();
  const auto loss = [&](const std::string& of, const std::string& widths) {
    return expect_done(on_data({"eval", of, "--widths", widths, "--json"}))
        .json()[0]["loss"]
        .get<double>();
  };
  const std::string widths = "48,96x4,-,64,80";
  expect_done({"export", model, "--widths", widths, "--pad-to-uniform", "--out", path("padded"),
               "--threads", "1"});
  const OpenedModel padded = open_model(path("padded"));
  EXPECT_EQ(padded.model.space.full(), Widths(7, 96));
  // A mean over 256 tokens; single logits of this model err by 1e-4 of their size.
  EXPECT_NEAR(loss(path("padded"), "96"), loss(model, widths), 1e-4);
  EXPECT_GT(std::abs(loss(model, "96") - loss(model, widths)), 1e-3);
  expect_refused({"export", model, "--widths", "64,96x7", "--pad-to-uniform", "--out", path("no")},
                 1, "96 is no multiple of 64");
  EXPECT_FALSE(fs::exists(path("no")));
}

// The check takes the spread of gates as llama.cpp does, and says what that changes.
TEST_F(Gemma3nWorkshop, GgufIsCheckedAgainstWhatLlamaCppComputes) {
  TinyGemma3n tiny = tiny_gemma3n_of_llama_cpp("of_llama_cpp");
  const std::string model = tiny.write(dir_ / "of_llama_cpp").string();
  const auto export_as = [&](const char* format, const char* out) {
    return expect_done({"export", model, "--widths", "128x4,512x16,-,256,512", "--pad-to-uniform",
                        "--format", format, "--dtype", "f32", "--check-layers", "6", "--out",
                        path(out), "--threads", "1"})
        .out;
  };
  const std::string moved = "the spread of gates as of a sample, as llama.cpp takes it, moved a";
  EXPECT_NE(export_as("gguf", "file").find(moved), std::string::npos);
  EXPECT_EQ(export_as("huggingface", "directory").find("moved a"), std::string::npos);
  expect_refused(
      {"export", model, "--widths", "128x4,512x19", "--format", "gguf", "--out", path("mixed")}, 1,
      "creates the FFN of every layer with the first one's width");
  expect_refused({"export", model, "--widths", "96x4,512x19", "--format", "gguf",
                  "--pad-to-uniform", "--out", path("mixed")},
                 1, "512 is no multiple of 96");
}

// E4B's layers at a quarter of its width, and a per-layer table that is larger than all of them.
TEST_F(Gemma3nWorkshop, TwoGigabytesAreScoredInAQuarterOfThem) {
  constexpr long kProgramKib = 256 * 1024, kLimitKib = 512 * 1024;
  nlohmann::json config = read_json(kShapes + "gemma3n-e4b.json");
  config["text_config"].update({{"hidden_size", 512},
                                {"head_dim", 64},
                                {"hidden_size_per_layer_input", 128},
                                {"intermediate_size", 4096},
                                {"vocab_size", 150000},
                                {"vocab_size_per_layer_input", 150000}});
  spew(path("shape.json"), config.dump());
  expect_done({"random", path("shape.json"), "--out", path("large"), "--dtype", "bf16"});
  const fs::path file = dir_ / "large/model.safetensors";
  ASSERT_GT(fs::file_size(file), 2'000'000'000u);
  std::uint64_t begin = 0, bytes = 0;
  {
    const OpenedModel opened = open_model(path("large"));
    const StoredTensor& table =
        opened.checkpoint.at("model.language_model.embed_tokens_per_layer.weight");
    begin = table.offset;
    bytes = table.bytes();
  }
  const bool dropped = drop_from_memory(file) && resident_bytes(file, begin, bytes) == 0;

  const std::vector<std::string> command = {"eval",           path("large"),
                                            "--data",         search_,
                                            "--token-format", "bytes",
                                            "--context",      "8",
                                            "--max-tokens",   "16",
                                            "--widths",       "uniform",
                                            "--widths",       "2048x20,-x5,2048x10",
                                            "--widths",       "2048x4,4096,2048x15,-x5,2048x10",
                                            "--threads",      "2",
                                            "--json"};
  std::vector<std::string> limited = command;
  limited.insert(limited.end(), {"--memory", "512MiB"});
  const Result streamed = expect_done(limited);
  EXPECT_NE(streamed.err.find("do not fit"), std::string::npos) << streamed.err;
  EXPECT_LT(streamed.max_resident_kib, kLimitKib + kProgramKib);
  // Of the table a pass reads the rows of the 16 words, and the system what lies around them: by
  // columns it would be all of it.
  if (dropped) {
    EXPECT_LT(resident_bytes(file, begin, bytes), bytes / 10);
  }

  const Result whole = expect_done(command);
  EXPECT_GT(whole.max_resident_kib, 3 * kLimitKib);
  fmt::print("peak memory {} MiB within the limit, {} MiB without\n",
             streamed.max_resident_kib >> 10, whole.max_resident_kib >> 10);
  const nlohmann::json left = streamed.json(), right = whole.json();
  ASSERT_EQ(left.size(), 4u);
  for (std::size_t i = 0; i < left.size(); ++i) {
    // The same arithmetic, in products of other sizes; bf16 has 8 bits.
    EXPECT_NEAR(left[i]["loss"].get<double>(), right[i]["loss"].get<double>(), 0x1p-8)
        << left[i]["widths"];
  }
}

// docs/gemma3n.md's five commands and the published submodels, on a stand-in for the download:
// E4B's layers with few neurons, and tensors of towers.
TEST_F(Gemma3nWorkshop, TheScriptGoesFromADirectoryToAVerifiedSubmodel) {
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  nlohmann::json config = read_json(kShapes + "gemma3n-e4b.json");
  const nlohmann::json tokenizer = gemma_tokenizer();
  const std::size_t words = tokenizer["model"]["vocab"].size();
  config["text_config"].update({{"hidden_size", 64},
                                {"head_dim", 32},
                                {"hidden_size_per_layer_input", 32},
                                {"intermediate_size", 512},
                                {"laurel_rank", 8},
                                {"num_attention_heads", 2},
                                {"num_key_value_heads", 1},
                                {"sliding_window", 16},
                                {"vocab_size", words},
                                {"vocab_size_per_layer_input", words}});
  config["eos_token_id"] = {1, 4};
  TinyGemma3n tiny{"released", config};
  std::vector<TestTensor> tensors = tiny.tensors();
  tensors.push_back(random_tensor("model.vision_tower.timm_model.conv_stem.weight", {5, 3}, 1));
  write_checkpoint(dir_ / "released", config, tensors);
  spew(path("released/tokenizer.json"), tokenizer.dump());
  fs::create_directory(dir_ / "texts");
  std::mt19937 random(3);
  for (int i = 0; i < 40; ++i) {
    std::string text;
    for (int j = 0; j < 600; ++j) text += "abcdefghij klmnop\n"[random() % 18];
    spew(dir_ / "texts" / fmt::format("{}.txt", i), text);
  }
  const NestedModel model = open_model(path("released")).model;
  const auto effective = [&](const Widths& widths) { return cost_of(model, widths).non_embedding; };
  const std::int64_t budget =
      (effective(model.space.full()) + effective(Widths(model.layers(), 256))) / 2;

  const std::string program = mixnmatch_argv({}).front();
  const std::vector<std::string> script = {"/usr/bin/env",
                                           "MIXNMATCH=" + program,
                                           "OUT=" + path("out"),
                                           fmt::format("BUDGET={}", budget),
                                           "EVALUATIONS=12",
                                           "TOKENS=512",
                                           "CONTEXT=64",
                                           "DTYPE=f32",
                                           MNM_SOURCE_DIR "/scripts/gemma3n",
                                           path("texts"),
                                           path("released")};
  const Result done = Running(script).wait();
  ASSERT_EQ(done.status, 0) << done.out << done.err;
  EXPECT_NE(done.out.find("transformers agrees"), std::string::npos) << done.out;
  const OpenedModel best = open_model(path("out/best"));
  EXPECT_LE(cost_of(best.model, best.model.space.full()).non_embedding, budget);
  EXPECT_NE(best.checkpoint.find("model.vision_tower.timm_model.conv_stem.weight"), nullptr);
  // The published ones and those of the search, each of the fronts' on both parts.
  const nlohmann::json front = expect_done({"pareto", "--db", path("out/results.db"), "--data",
                                            "search", "--cost", "effective", "--json"})
                                   .json();
  EXPECT_GE(front.size(), 2u) << front;
  EXPECT_TRUE(fs::exists(path("out/front.svg")));

  // As if it had been stopped in the search: that is done again, of what the store knows.
  fs::copy_file(path("out/best/config.json"), path("first.json"));
  fs::remove(path("out/searched"));
  fs::remove_all(path("out/best"));
  const Result again = Running(script).wait();
  ASSERT_EQ(again.status, 0) << again.out << again.err;
  EXPECT_EQ(again.out.find("mixnmatch eval"), std::string::npos) << again.out;
  EXPECT_NE(again.err.find("12 evaluations (12 known already)"), std::string::npos) << again.err;
  EXPECT_EQ(slurp(path("out/best/config.json")), slurp(path("first.json")));
}

// transformers clamps them in each forward pass of training.
TEST_F(Gemma3nWorkshop, CoefficientsOfTheStreamsStayWithinTheirClip) {
  nlohmann::json config = tiny_gemma3n_text();
  config["vocab_size"] = config["vocab_size_per_layer_input"] = 256;
  spew(path("shape.json"), config.dump());
  constexpr float kClip = 0.0078125f;  // bf16 holds it; fresh coefficients are beyond it already
  config["altup_coef_clip"] = kClip;
  spew(path("clipped.json"), config.dump());
  const auto largest_after_training = [&](const std::string& shape) {
    expect_done({"train",           path(shape + ".json"),
                 "--tokens",        search_,
                 "--token-format",  "bytes",
                 "--out",           path("run-" + shape),
                 "--steps",         "3",
                 "--batch",         "2",
                 "--context",       "16",
                 "--learning-rate", "0.003",
                 "--warmup",        "1",
                 "--threads",       "1"});
    const OpenedModel opened = open_model(path("run-" + shape + "/model"));
    float largest = 0;
    for (const char* name : {"prediction_coefs", "correction_coefs"}) {
      const StoredTensor& coefficients =
          opened.checkpoint.at(std::string("model.layers.0.altup.") + name + ".weight");
      for (const float value : values_of(opened.checkpoint, coefficients)) {
        largest = std::max(largest, std::abs(value));
      }
    }
    return largest;
  };
  EXPECT_GT(largest_after_training("shape"), kClip);
  EXPECT_EQ(largest_after_training("clipped"), kClip);
}

TEST_F(Gemma3nWorkshop, IsMadeTrainedAndGeneratedFrom) {
  nlohmann::json config = tiny_gemma3n_text();
  config["vocab_size"] = config["vocab_size_per_layer_input"] = 256;
  spew(path("shape.json"), config.dump());
  expect_done({"random", path("shape.json"), "--out", path("fresh")});
  // At 0, as transformers leaves it, the layers' inputs would do nothing and learn nothing.
  const auto scale_of = [&](const std::string& model) {
    const OpenedModel opened = open_model(path(model));
    return values_of(opened.checkpoint,
                     opened.checkpoint.at("model.layers.0.altup.correct_output_scale"));
  };
  EXPECT_EQ(scale_of("fresh"), std::vector<float>(32, 1.0f));
  const auto loss = [&](const std::string& model, const char* dtype = "f32") {
    return expect_done(on_data({"eval", path(model), "--widths", "96", "--dtype", dtype, "--json"}))
        .json()[0]["loss"]
        .get<double>();
  };
  for (const std::string dtype : {"bf16", "f32"}) {
    expect_done({"train",           path("shape.json"),
                 "--tokens",        search_,
                 "--token-format",  "bytes",
                 "--out",           path("run-" + dtype),
                 "--steps",         "60",
                 "--batch",         "4",
                 "--context",       "16",
                 "--schedule",      "sandwich",
                 "--learning-rate", "0.003",
                 "--warmup",        "5",
                 "--dtype",         dtype,
                 "--threads",       "1"});
    EXPECT_LT(loss("run-" + dtype + "/model"), loss("fresh") - 0.05) << dtype;
  }
  // A mean over 256 tokens, whose losses bf16's 8 bits move by some hundredths each.
  EXPECT_NEAR(loss("run-f32/model", "bf16"), loss("run-f32/model"), 0.02);
  for (const float scale : scale_of("run-f32/model")) EXPECT_NEAR(scale, 1, 0.25);
  expect_done({"nest", path("run-f32/model"), "--force", "--data", search_, "--token-format",
               "bytes", "--context", "16", "--threads", "1", "--out", path("nested")});
  EXPECT_NEAR(loss("nested"), loss("run-f32/model"), 1e-3);  // of bf16 weights in another order
  expect_done({"generate", path("run-f32/model"), "--tokens", "65,66,67", "--max-new-tokens", "20",
               "--ignore-end", "--threads", "1"});
}

}  // namespace
}  // namespace mnm::test
