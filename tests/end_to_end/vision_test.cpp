// Vision transformers on image sets: scored, searched, exported, trained; transformers and ONNX
// Runtime judge the exports.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "dataset/npy.h"
#include "tests/end_to_end/image_workshop.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_mamba2_vision.h"
#include "tests/support/tiny_vit.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

const std::string kRoot = MNM_SOURCE_DIR;

class Vision : public ImageWorkshop {
 protected:
  Vision() : ImageWorkshop(40, 24, {{"layer_norm_eps", 1e-6}}) {}
};

TEST_F(Vision, SubmodelsAreScoredSharedAsOneByOne) {
  std::vector<std::string> command = {
      "eval",     vit_,        "--data",   images_,   "--json",   "--widths",     "uniform",
      "--widths", "8,40,16",   "--widths", "8,40,40", "--metric", "accuracy5",    "--metric",
      "kl",       "--threads", "2",        "--db",    db_,        "--consistency"};
  const nlohmann::json shared = expect_done(command).json();
  ASSERT_EQ(shared.size(), 5u);
  command.erase(command.end() - 3, command.end());
  command.push_back("--one-by-one");
  const nlohmann::json alone = expect_done(command).json();
  for (std::size_t i = 0; i < shared.size(); ++i) {
    for (const char* metric : {"loss", "accuracy", "accuracy5", "kl", "agreement"}) {
      ASSERT_TRUE(shared[i][metric].is_number()) << metric;
      EXPECT_NEAR(shared[i][metric].get<double>(), alone[i][metric].get<double>(), 2e-5) << metric;
    }
    EXPECT_EQ(shared[i]["accuracy5"], 1) << "there are four classes";
  }
  EXPECT_LT(std::abs(shared[2]["kl"].get<double>()), 1e-6) << "the widest is the full model";
  EXPECT_GT(shared[0]["kl"].get<double>(), 0);

  const Result text = expect_done({"eval", vit_, "--data", images_, "--threads", "1"});
  EXPECT_NE(text.out.find("FLOPs/image"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("loss, nats/image"), std::string::npos) << text.out;
  EXPECT_NE(text.err.find("3 submodels on 40 images: "), std::string::npos) << text.err;
  const Result compared =
      expect_done({"compare", "8x3", "40x3", "--db", db_, "--metric", "accuracy"});
  EXPECT_NE(compared.out.find("FLOPs per image"), std::string::npos) << compared.out;
}

TEST_F(Vision, TheWholeWayFromASearchToAnExport) {
  const nlohmann::json shown = expect_done({"inspect", vit_, "--json"}).json();
  EXPECT_EQ(shown["reads"], "images");
  EXPECT_EQ(shown["cost_basis"]["context"], 10);
  for (const char* metric : {"loss", "accuracy", "agreement"}) {
    const std::string db = path(fmt::format("{}.db", metric));
    expect_done({"search", vit_, "--data", images_, "--confirm", others_, "--db", db, "--metric",
                 metric, "--max-evaluations", "12", "--batch", "6", "--cost", "flops", "--threads",
                 "1"});
    const auto front =
        expect_done({"pareto", "--db", db, "--metric", metric, "--data", "confirm", "--json"})
            .json();
    EXPECT_FALSE(front.empty()) << metric;
  }
  const std::string db = path("loss.db");
  const Result text = expect_done({"pareto", "--db", db, "--cost", "flops"});
  EXPECT_NE(text.out.find("FLOPs/image"), std::string::npos) << text.out;
  expect_done({"pareto", "--db", db, "--svg", path("front.svg"), "--data", "search"});
  EXPECT_NE(slurp(path("front.svg")).find("nats per image"), std::string::npos);
  expect_done({"report", "--db", db, "--out", path("report.html")});
  expect_done({"sensitivity", vit_, "--data", images_, "--threads", "1"});
  const auto bench = expect_done({"bench", vit_, "--data", images_, "--set", "monotone", "--set",
                                  "grid", "--sample", "4", "--threads", "1", "--json"})
                         .json();
  for (const auto& row : bench) EXPECT_GT(row["plan_gain"].get<double>(), 1);
  const auto latency = expect_done({"latency", vit_, "--batch", "2", "--repeats", "3", "--checks",
                                    "1", "--db", db, "--threads", "1", "--json"})
                           .json();
  EXPECT_EQ(latency["phase"], "prefill");
  EXPECT_EQ(latency["length"], 10);
  const Result out =
      expect_done({"export", vit_, "--db", db, "--best", "--out", path("best"), "--threads", "1"});
  EXPECT_NE(out.out.find("over 8 images the largest difference"), std::string::npos) << out.out;
  EXPECT_EQ(slurp(path("best/preprocessor_config.json")), kPreprocessing);
}

TEST_F(Vision, ExportsComputeInTheirRuntimesWhatTheNestedModelDoes) {
  std::map<std::string, std::vector<std::string>> asked;  // by format
  asked["huggingface"] = {kRoot + "/scripts/verify", "transformers"};
  asked["onnx"] = {kRoot + "/scripts/verify", "onnxruntime"};
  asked["timm"] = {kRoot + "/scripts/verify", "timm"};
  int number = 0;
  auto configs = tiny_vits();
  for (auto& resized : resized_vits()) configs.push_back(std::move(resized));
  for (const auto& [name, config] : configs) {
    const std::string model = path("of-" + name), sizes = path(name + ".json");
    spew(sizes, config.dump());
    expect_done({"random", sizes, "--out", model, "--seed", "5", "--dtype", "f32"});
    const bool dinov2 = config.contains("mlp_ratio"),
               resized = config.contains("mixnmatch_image_size");
    for (const char* widths : {"16x3", "8,40,16", "24x3"}) {
      const bool uniform = widths != std::string("8,40,16");
      for (const char* format : {"huggingface", uniform ? "timm" : "onnx"}) {
        // One uniform width is enough but for DINOv2, which is native at multiples of 24.
        if (dinov2 ? format == std::string("timm") : widths == std::string("24x3")) continue;
        if (resized && format == std::string("timm")) continue;
        const std::string to = path(fmt::format("export-{}", number++));
        const Result done =
            expect_done({"export", model, "--widths", widths, "--format", format, "--dtype",
                         number % 5 == 0 ? "bf16" : "f32", "--out", to, "--threads", "1"});
        EXPECT_NE(done.out.find("checked: "), std::string::npos) << name << done.out;
        asked[format].push_back(to);
      }
    }
    expect_refused({"export", model, "--widths", "16", "--format", "gguf", "--out", path("gguf")},
                   1, "llama.cpp runs language models");
    expect_refused(
        {"export", model, "--widths", "8,40,16", "--format", "timm", "--out", path("timm")}, 1,
        resized  ? "timm resizes positions in another way"
        : dinov2 ? "beside the mean of the patches"
                 : "has one mlp_ratio for all layers");
  }
  const std::string explained =
      expect_done({"export", path("of-plain"), "--widths", "8,40,16", "--explain"}).out;
  for (const char* part : {"transformers", "onnxruntime", "llama.cpp", "one intermediate_size",
                           "one mlp_ratio", "FLOPs/image"}) {
    EXPECT_NE(explained.find(part), std::string::npos) << part << explained;
  }
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  for (const auto& [format, command] : asked) {
    const Result answer = Running(command).wait();
    EXPECT_EQ(answer.status, 0) << format << answer.out << answer.err;
    if (format == "onnx") continue;
    // It is not fooled: a bias of the classifier is another.
    const std::string wrong = command[2];
    std::string bytes = slurp(wrong + "/model.safetensors");
    spew(wrong + "/model.safetensors",
         bytes.replace(bytes.size() - 4, 4, std::string("\0\0\0\x41", 4)));
    const Result told = Running({command[0], command[1], wrong}).wait();
    EXPECT_EQ(told.status, 1) << told.out << told.err;
  }
  const Result other = Running({asked["timm"][0], "timm", asked["huggingface"][3]}).wait();
  EXPECT_EQ(other.status, 1) << other.out;
  EXPECT_NE(other.err.find("no architecture and model_args"), std::string::npos) << other.err;
}

// timm's own directories, exported at full width: the same tensors to the bit, which timm loads,
// and the same rules for pictures.
TEST_F(Vision, ACheckpointOfTimmsComesBackUnchanged) {
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  const TempDir scratch;
  const std::string check = "end_to_end/timm_check.py";
  ASSERT_EQ(python_failure(check, {"make", path("timm")}, scratch), "");
  for (const auto& entry : fs::directory_iterator(path("timm"))) {
    const std::string theirs = entry.path() / "theirs", ours = entry.path() / "ours";
    expect_done(
        {"export", theirs, "--widths", "48", "--format", "timm", "--out", ours, "--threads", "1"});
    // Under the same guard as every export.
    expect_refused({"export", theirs, "--widths", "24", "--format", "timm", "--out", ours}, 1,
                   "is there already");
    expect_done({"export", theirs, "--widths", "24", "--format", "timm", "--out", ours + "-narrow",
                 "--force", "--threads", "1"});
  }
  EXPECT_EQ(python_failure(check, {"same", path("timm")}, scratch), "");
}

// A DINOv2 whose config has another size than its preprocessing, as the published ones.
TEST_F(Vision, PositionsAreResizedToTheImages) {
  const std::string sizes = path("dino.json"), model = path("dino");
  spew(sizes, tiny_dinov2(false, {{"image_size", 20}}).dump());
  expect_done({"random", sizes, "--out", model, "--seed", "5", "--dtype", "f32"});
  const auto prepare = [&](int side) {
    spew(model + "/preprocessor_config.json",
         fmt::format(R"({{"image_processor_type": "BitImageProcessor", "do_center_crop": true,
           "size": {{"shortest_edge": 24}}, "crop_size": {{"height": {0}, "width": {0}}},
           "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}})",
                     side));
  };
  prepare(20);
  expect_refused({"eval", model, "--data", images_}, 1, "give --image-size 12");
  expect_refused({"eval", model, "--data", images_, "--image-size", "10"}, 2,
                 "patches of 4 x 4 do not divide them");
  expect_refused({"eval", model_, "--data", search_, "--image-size", "12"}, 2,
                 "the model reads tokens");
  const std::vector<std::string> command = {"eval",      model, "--data", images_,
                                            "--threads", "1",   "--json"};
  std::vector<std::string> asked = command;
  asked.insert(asked.end(), {"--image-size", "12"});
  const nlohmann::json with_option = expect_done(asked).json();
  prepare(12);
  const Result by_itself = expect_done(command);
  EXPECT_EQ(by_itself.json(), with_option);
  EXPECT_NE(by_itself.err.find("positions of 20 x 20 pixels are resized to 12 x 12"),
            std::string::npos)
      << by_itself.err;
  EXPECT_EQ(expect_done({"inspect", model, "--json"}).json()["max_context"], 10);
  asked.back() = "20";
  expect_refused(asked, 1, "the model reads 3 x 20 x 20");
  // The same for a ViT, which says so with the option alone, in FLOPs as well.
  const auto own = expect_done({"inspect", vit_, "--json"}).json(),
             larger = expect_done({"inspect", vit_, "--image-size", "24", "--json"}).json();
  EXPECT_EQ(larger["max_context"], 37);
  EXPECT_EQ(larger["uniform"][0]["params"], own["uniform"][0]["params"]);
  EXPECT_GT(larger["uniform"][0]["flops"].get<double>(),
            3.5 * own["uniform"][0]["flops"].get<double>());
}

// MatMamba-Vision: the whole way of it, with the bridge and the graph in their runtimes.
TEST_F(Vision, MatMambaIsSearchedAndExported) {
  std::vector<std::string> transformers = {kRoot + "/scripts/verify", "transformers"},
                           onnx = {kRoot + "/scripts/verify", "onnxruntime"};
  for (const char* pool : {"cls", "avg"}) {
    const std::string model = path(std::string("mamba-") + pool), sizes = model + ".json";
    spew(sizes, tiny_mamba2_vision({{"pool", pool}}).dump());
    expect_done({"random", sizes, "--out", model, "--seed", "5", "--dtype", "f32"});
    spew(model + "/preprocessor_config.json", kPreprocessing);
    const std::string db = model + ".db";
    expect_done({"search", model, "--data", images_, "--confirm", others_, "--db", db,
                 "--max-evaluations", "8", "--batch", "8", "--cost", "flops", "--threads", "1"});
    const auto bench = expect_done({"bench", model, "--data", images_, "--set", "grid", "--sample",
                                    "2", "--threads", "1", "--json"})
                           .json();
    for (const auto& row : bench) EXPECT_GT(row["plan_gain"].get<double>(), 1) << pool;
    for (const char* format : {"huggingface", "onnx"}) {
      const std::string to = model + "-" + format;
      const Result done = expect_done({"export", model, "--widths", "4,16,8", "--format", format,
                                       "--dtype", "f32", "--out", to, "--threads", "1"});
      EXPECT_NE(done.out.find("checked: "), std::string::npos) << done.out;
      (format == std::string("onnx") ? onnx : transformers).push_back(to);
      expect_done({"export", model, "--widths", "4,16,8", "--format", format, "--image-size", "20",
                   "--out", to + "-larger", "--threads", "1"});
      (format == std::string("onnx") ? onnx : transformers).push_back(to + "-larger");
    }
    expect_refused({"export", model, "--widths", "8x3", "--format", "gguf", "--out", path("gguf")},
                   1, "llama.cpp runs language models");
  }
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  for (const auto* const command : {&transformers, &onnx}) {
    const Result answer = Running(*command).wait();
    EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
  }
}

TEST_F(Vision, NeuronsAreRankedOverImages) {
  const auto nest = [&](const std::string& model, const std::string& data) {
    return std::vector<std::string>{"nest",  model,       "--force",   "--data", data,
                                    "--out", path("out"), "--threads", "1"};
  };
  expect_refused(nest(vit_, search_), 1, "it is no image set, and the model reads images");
  expect_refused(nest(model_, others_), 1, "it is a set of images, and the model reads tokens");
  std::vector<std::string> cut = nest(vit_, others_);
  cut.insert(cut.end(), {"--context", "5"});
  expect_refused(cut, 2, "the model computes 10 positions of every image");
  EXPECT_FALSE(fs::exists(path("out")));
  const Result done = expect_done(nest(vit_, others_));
  EXPECT_TRUE(contains(done.out, "sorted by iterative over 24 images of others")) << done.out;
  EXPECT_TRUE(contains(done.out, "images the largest difference of a logit")) << done.out;
}

// The authors' own file is pickled: what it says is the line that converts it.
TEST_F(Vision, APickledMatMambaComesWithTheLineThatConvertsIt) {
  fs::create_directory(dir_ / "published");
  spew(dir_ / "published/config.json", tiny_mamba2_vision().dump());
  spew(dir_ / "published/pytorch_model.bin", std::string("PK\3\4") + std::string(60, 'x'));
  expect_refused({"inspect", path("published")}, 1, "weights_only=True");
}

TEST_F(Vision, WhatIsNotTheModelsIsRefused) {
  const std::string text = search_;
  expect_refused({"eval", vit_, "--data", text}, 1,
                 "it is no image set, and the model reads images");
  expect_refused({"eval", model_, "--data", images_}, 1, "it is a set of images");
  expect_refused({"eval", vit_, "--data", images_, "--context", "4"}, 2,
                 "10 positions of every image");
  expect_refused({"generate", vit_, "--tokens", "1"}, 1, "says the class of images");
  expect_refused({"latency", vit_, "--phase", "decode"}, 2, "no next token to decode");
  expect_refused({"train", path("config/config.json"), "--tokens", text, "--out", path("run")}, 2,
                 "the model reads images: give --images");
  expect_refused({"train", path("config/config.json"), "--out", path("run")}, 2, "give either");
  fs::copy(dir_ / "vit", dir_ / "twin");
  nlohmann::json other = nlohmann::json::parse(slurp(path("twin/preprocessor_config.json")));
  other["image_mean"] = {0.25, 0.25, 0.25};
  spew(path("twin/preprocessor_config.json"), other.dump());
  expect_refused({"train", "--from", vit_, "--images", images_, "--out", path("run"), "--distil",
                  "1", "--teacher", path("twin"), "--steps", "1", "--threads", "1"},
                 1, "it normalises pixels otherwise than the model that is trained");
  fs::create_directory(dir_ / "named");
  spew(dir_ / "named/classes.json", R"(["a", "b"])");
  for (const char* file : {"images.npy", "labels.npy"}) {
    spew(dir_ / "named" / file, slurp(images_ + "/" + file));
  }
  expect_refused({"eval", vit_, "--data", path("named")}, 1, "it has 2 classes, and the model 4");
  // Of pixels that are normalised already, the third image is no number.
  fs::create_directory(dir_ / "wrong");
  std::vector<float> pixels(4 * 432, 0.5f);
  pixels[3 * 432 - 1] = std::nanf("");
  spew(dir_ / "wrong/images.npy", npy_head("<f4", std::vector<std::int64_t>{4, 3, 12, 12}) +
                                      std::string(reinterpret_cast<const char*>(pixels.data()),
                                                  pixels.size() * sizeof(float)));
  spew(dir_ / "wrong/labels.npy",
       npy_head("|u1", std::vector<std::int64_t>{4}) + std::string(4, '\1'));
  expect_refused({"eval", vit_, "--data", path("wrong"), "--db", path("wrong.db")}, 1,
                 "image 2 has a pixel that is nan");
  EXPECT_FALSE(fs::exists(path("wrong.db")));
  fs::remove(dir_ / "vit/preprocessor_config.json");
  expect_refused({"eval", vit_, "--data", images_}, 1, "no preprocessor_config.json");
}

// Images of four brightnesses are told apart after some steps, at every granularity; a run that is
// stopped ends as one that is not, and what it wrote is scored as it is.
TEST_F(Vision, TrainingLearnsTheClasses) {
  spew(dir_ / "config/preprocessor_config.json", kPreprocessing);
  const auto command = [&](const std::string& out, const std::string& schedule) {
    return std::vector<std::string>{"train",
                                    path("config/config.json"),
                                    "--images",
                                    images_,
                                    "--validation",
                                    others_,
                                    "--out",
                                    path(out),
                                    "--schedule",
                                    schedule,
                                    "--steps",
                                    "60",
                                    "--batch",
                                    "16",
                                    "--learning-rate",
                                    "3e-3",
                                    "--warmup",
                                    "5",
                                    "--flip",
                                    "--shift",
                                    "1",
                                    "--label-smoothing",
                                    "0.05",
                                    "--report-every",
                                    "30",
                                    "--threads",
                                    "1"};
  };
  for (const std::string schedule : {"one", "joint"}) {
    const Result done = expect_done(command(schedule, schedule));
    EXPECT_NE(done.out.find("images/s"), std::string::npos) << done.out;
    const std::string model = path(schedule + "/model");
    EXPECT_EQ(slurp(model + "/preprocessor_config.json"), kPreprocessing);
    const auto scores =
        expect_done({"eval", model, "--data", others_, "--json", "--threads", "1"}).json();
    ASSERT_EQ(scores.size(), 3u);
    for (const auto& score : scores) EXPECT_GT(score["accuracy"].get<double>(), 0.9) << schedule;
    EXPECT_TRUE(contains(done.out, "  train:")) << done.out;
  }
  std::vector<std::string> sigmoid = command("sigmoid", "one");
  sigmoid.insert(sigmoid.end(), {"--loss", "sigmoid"});
  const std::string out = expect_done(sigmoid).out;
  EXPECT_TRUE(contains(out, "  train (sigmoid):")) << out;
  EXPECT_TRUE(contains(out, "  held out (softmax):")) << out;
}

}  // namespace
}  // namespace mnm::test
