// Vision transformers on image sets: scored, searched, exported, trained; transformers and ONNX
// Runtime judge the exports.
#include <fmt/ranges.h>

#include <cmath>
#include <random>

#include "dataset/npy.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/python.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_mamba2_vision.h"
#include "tests/support/tiny_vit.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

const std::string kRoot = MNM_SOURCE_DIR;

class Vision : public Workshop {
 protected:
  Vision() {
    fs::create_directory(dir_ / "config");
    spew(dir_ / "config/config.json", tiny_vit({{"layer_norm_eps", 1e-6}}).dump());
    vit_ = path("vit");
    const Result made = mixnmatch(
        {"random", path("config/config.json"), "--out", vit_, "--seed", "3", "--dtype", "f32"});
    EXPECT_EQ(made.status, 0) << made.err;
    spew(dir_ / "vit/preprocessor_config.json", kPreprocessing);
    images_ = images("images", 1, 40);
    others_ = images("others", 2, 24);
  }

  // Pictures of 12 x 12 in four classes, each of its own brightness.
  std::string images(const std::string& name, std::uint32_t seed, std::int64_t count) const {
    std::mt19937 random(seed);
    std::string pixels = npy_head("|u1", std::vector<std::int64_t>{count, 12, 12, 3}),
                labels = npy_head("|u1", std::vector<std::int64_t>{count});
    for (std::int64_t i = 0; i < count; ++i) {
      const unsigned label = static_cast<unsigned>(i) % 4;
      labels += static_cast<char>(label);
      for (int p = 0; p < 12 * 12 * 3; ++p) {
        pixels += static_cast<char>(60 * label + random() % 60);
      }
    }
    fs::create_directory(dir_ / name);
    spew(dir_ / (name + "/images.npy"), pixels);
    spew(dir_ / (name + "/labels.npy"), labels);
    return path(name);
  }

  static constexpr const char* kPreprocessing =
      R"({"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 12}})";
  std::string vit_, images_, others_;
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
  std::vector<std::string> transformers = {kRoot + "/scripts/verify", "transformers"},
                           onnx = {kRoot + "/scripts/verify", "onnxruntime"};
  int number = 0;
  for (const auto& [name, config] : tiny_vits()) {
    const std::string model = path("of-" + name), sizes = path(name + ".json");
    spew(sizes, config.dump());
    expect_done({"random", sizes, "--out", model, "--seed", "5", "--dtype", "f32"});
    for (const char* widths : {"16x3", "8,40,16"}) {
      for (const char* format : {"huggingface", "onnx"}) {
        const bool huggingface = format == std::string("huggingface");
        if (!huggingface && widths == std::string("16x3")) continue;
        const std::string to = path(fmt::format("export-{}", number++));
        const Result done =
            expect_done({"export", model, "--widths", widths, "--format", format, "--dtype",
                         number % 5 == 0 ? "bf16" : "f32", "--out", to, "--threads", "1"});
        EXPECT_NE(done.out.find("checked: "), std::string::npos) << name << done.out;
        (huggingface ? transformers : onnx).push_back(to);
      }
    }
    expect_refused({"export", model, "--widths", "16", "--format", "gguf", "--out", path("gguf")},
                   1, "llama.cpp runs language models");
  }
  const std::string explained =
      expect_done({"export", path("of-plain"), "--widths", "8,40,16", "--explain"}).out;
  for (const char* part :
       {"transformers", "onnxruntime", "llama.cpp", "one intermediate_size", "FLOPs/image"}) {
    EXPECT_NE(explained.find(part), std::string::npos) << part << explained;
  }
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  for (const auto* const command : {&transformers, &onnx}) {
    const Result answer = Running(*command).wait();
    EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
  }
  // Both are not fooled: a bias of the classifier is another.
  const std::string wrong = transformers[2];
  std::string bytes = slurp(wrong + "/model.safetensors");
  spew(wrong + "/model.safetensors",
       bytes.replace(bytes.size() - 4, 4, std::string("\0\0\0\x41", 4)));
  const Result told = Running({kRoot + "/scripts/verify", "transformers", wrong}).wait();
  EXPECT_EQ(told.status, 1) << told.out << told.err;
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

// A narrow submodel's queries in the full model's database, against a comparison of all pairs.
TEST_F(Vision, FeaturesAreSearchedExactly) {
  const std::string database = images("database", 3, 60);
  expect_done({"features", vit_, "--data", database, "--out", path("db"), "--threads", "1"});
  expect_refused({"features", vit_, "--data", database, "--out", path("db")}, 1, "exists");
  for (const char* widths : {"40x3", "8x3"}) {
    expect_done({"features", vit_, "--data", others_, "--widths", widths, "--out", path(widths),
                 "--threads", "2"});
  }
  const nlohmann::json found = expect_done({"retrieve", path("40x3"), path("8x3"), "--database",
                                            path("db"), "--depth", "5", "--json"})
                                   .json();
  ASSERT_EQ(found.size(), 2u);
  for (const char* name : {"knn", "map", "precision", "recall"}) {
    EXPECT_GT(found[0][name].get<double>(), 0) << name;
    EXPECT_LE(found[0][name].get<double>(), 1) << name;
  }
  EXPECT_TRUE(found[0]["difference"].is_null());
  EXPECT_NEAR(found[1]["difference"].get<double>(),
              found[1]["knn"].get<double>() - found[0]["knn"].get<double>(), 1e-6);
  for (const char* distance : {"cosine", "l2"}) {
    const nlohmann::json own =
        expect_done({"retrieve", path("db"), "--database", path("db"), "--depth", "1", "--distance",
                     distance, "--shortlist", path("own.csv"), "--json"})
            .json();
    EXPECT_EQ(own[0]["knn"], 1) << "each finds itself";
    EXPECT_TRUE(slurp(path("own.csv")).starts_with("0\n1\n2\n3\n"));
  }
  spew(path("thin-X.npy"),
       npy_head("<f4", std::vector<std::int64_t>{2, 3}) + std::string(24, '\0'));
  spew(path("thin-y.npy"), npy_head("|u1", std::vector<std::int64_t>{2}) + std::string(2, '\0'));
  expect_refused({"retrieve", path("thin"), "--database", path("db")}, 1,
                 "its vectors have 3 numbers, and those of the database 24");
  expect_refused({"retrieve", path("db"), "--database", path("db"), "--depth", "61"}, 2,
                 "the 61 nearest of a database of 60");
  expect_refused({"features", model_, "--data", search_, "--out", path("text")}, 1,
                 "says each next token");
  if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
  expect_done({"retrieve", path("8x3"), "--database", path("db"), "--shortlist", path("list.csv")});
  const TempDir scratch;
  EXPECT_EQ(python_failure("end_to_end/retrieval_check.py",
                           {path("8x3"), path("db"), path("list.csv")}, scratch),
            "");
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
  }
}

}  // namespace
}  // namespace mnm::test
