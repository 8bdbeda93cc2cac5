// Vision transformers on image sets: scored, searched, exported, trained; transformers and ONNX
// Runtime judge the exports.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <utility>

#include "dataset/feature_file.h"
#include "dataset/npy.h"
#include "tests/end_to_end/image_workshop.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_mamba2_vision.h"
#include "tests/support/tiny_vit.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

const std::string kRoot = MNM_SOURCE_DIR;

// What a search for the queries is worth, by a comparison of all pairs in f64: 1-NN accuracy, mAP,
// precision and recall, each a mean over the queries.
std::vector<double> plain_retrieval(const Features& queries, const Features& database, bool cosine,
                                    std::size_t depth) {
  const auto vector = [](const Features& features, std::size_t i) {
    const auto d = static_cast<std::size_t>(features.dimension);
    return std::span(features.vectors).subspan(i * d, d);
  };
  std::vector<double> sums(4);
  for (std::size_t q = 0; q < queries.labels.size(); ++q) {
    std::vector<std::pair<double, std::size_t>> far;
    for (std::size_t i = 0; i < database.labels.size(); ++i) {
      double product = 0, square = 0, apart = 0;
      for (std::size_t k = 0; k < static_cast<std::size_t>(database.dimension); ++k) {
        const double x = vector(queries, q)[k], y = vector(database, i)[k];
        product += x * y;
        square += y * y;
        apart += (x - y) * (x - y);
      }
      far.emplace_back(cosine ? -product / std::sqrt(square) : apart, i);
    }
    std::ranges::sort(far);
    const std::int64_t label = queries.labels[q];
    double hits = 0, precisions = 0;
    for (std::size_t place = 0; place < depth; ++place) {
      if (database.labels[far[place].second] != label) continue;
      precisions += ++hits / static_cast<double>(place + 1);
    }
    const auto k = static_cast<double>(depth);
    sums[0] += database.labels[far[0].second] == label;
    sums[1] += precisions / k;
    sums[2] += hits / k;
    sums[3] += hits / static_cast<double>(std::ranges::count(database.labels, label));
  }
  for (double& sum : sums) sum /= static_cast<double>(queries.labels.size());
  return sums;
}

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

// A narrow submodel's queries in the full model's database, against a comparison of all pairs.
TEST_F(Vision, FeaturesAreSearchedExactly) {
  const std::string database = images("database", 3, 60);
  expect_done({"features", vit_, "--data", database, "--out", path("db"), "--threads", "1"});
  expect_refused({"features", vit_, "--data", database, "--out", path("db")}, 1,
                 "db-X.npy is there already");
  expect_done({"features", vit_, "--data", database, "--out", path("db"), "--force"});
  for (const char* end : {"-X.npy", "-y.npy"}) {
    const std::string file = path("mine") + end;
    spew(file, "mine");
    expect_refused({"features", vit_, "--data", database, "--out", path("mine"), "--force"}, 1,
                   "cannot replace " + file);
    EXPECT_EQ(slurp(file), "mine");
    std::filesystem::remove(file);
  }
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
                     distance, "--shortlist", path("own.csv"), "--force", "--json"})
            .json();
    EXPECT_EQ(own[0]["knn"], 1) << "each finds itself";
    EXPECT_TRUE(slurp(path("own.csv")).starts_with("0\n1\n2\n3\n"));
    expect_refused(
        {"retrieve", path("db"), "--database", path("db"), "--shortlist", path("own.csv")}, 1,
        "own.csv is there already");
    std::filesystem::remove(path("own.csv"));
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

// As metrics of eval: what a comparison of all pairs finds among the vectors that 'features'
// writes, for both encoders and both distances. Each protocol is kept apart.
TEST_F(Vision, RetrievalIsAMetricOfEval) {
  const std::string database = images("database", 3, 60);
  const std::vector<std::string> widths = {"40x3", "8x3"};
  for (const std::string& each : widths) {
    for (const auto& [set, name] : {std::pair(others_, "q-"), std::pair(database, "d-")}) {
      expect_done({"features", vit_, "--data", set, "--widths", each, "--out", path(name + each),
                   "--threads", "1"});
    }
  }
  for (const std::string encoder : {"full", "submodel"}) {
    for (const std::string distance : {"cosine", "l2"}) {
      const Result done =
          expect_done({"eval",       vit_,     "--data",    others_,   "--database", database,
                       "--encoder",  encoder,  "--metric",  "knn",     "--depth",    "5",
                       "--distance", distance, "--widths",  widths[0], "--widths",   widths[1],
                       "--db",       db_,      "--threads", "1",       "--json"});
      const nlohmann::json scores = done.json();
      ASSERT_EQ(scores.size(), 2u);
      std::vector<std::vector<double>> expected;
      for (std::size_t i = 0; i < 2; ++i) {
        const std::string encoded_by = encoder == "full" ? widths[0] : widths[i];
        expected.push_back(plain_retrieval(read_features(path("q-" + widths[i])),
                                           read_features(path("d-" + encoded_by)),
                                           distance == "cosine", 5));
        const char* const names[] = {"knn", "map", "precision", "recall"};
        for (std::size_t m = 0; m < 4; ++m) {
          EXPECT_NEAR(scores[i][names[m]].get<double>(), expected[i][m], 1e-6)
              << names[m] << " of " << widths[i] << ", " << encoder << ", " << distance;
        }
        EXPECT_EQ(scores[i]["protocol"],
                  fmt::format("5 nearest of 60 in database, {}, encoder {}", distance, encoder));
        EXPECT_TRUE(scores[i]["loss"].is_number());
      }
      EXPECT_NEAR(scores[1]["difference"].get<double>(), expected[1][0] - expected[0][0], 1e-6);
    }
  }
  const std::vector<std::string> shared = {"eval",       vit_,        "--data",   others_,
                                           "--database", database,    "--metric", "knn",
                                           "--json",     "--threads", "1"};
  std::vector<std::string> alone = shared;
  alone.push_back("--one-by-one");
  const auto together = expect_done(shared).json(), one_by_one = expect_done(alone).json();
  ASSERT_EQ(together.size(), one_by_one.size());
  for (std::size_t i = 0; i < together.size(); ++i) {
    for (const char* name : {"knn", "map", "precision", "recall"}) {
      EXPECT_NEAR(one_by_one[i][name].get<double>(), together[i][name].get<double>(), 1e-6)
          << name << " of " << together[i]["widths"];
    }
  }
  const auto compared =
      expect_done({"compare", "8x3", "40x3", "--db", db_, "--metric", "recall", "--json"}).json();
  EXPECT_EQ(compared.size(), 4u) << "a line for each protocol";
  for (const auto& row : compared) EXPECT_TRUE(row["difference"].is_number());
  // Streamed weights encode nothing, but search what was kept.
  const auto streamed = [&](const std::string& db) {
    return std::vector<std::string>{"eval",    vit_,   "--data", others_,    "--database",
                                    database,  "--db", db,       "--metric", "knn",
                                    "--depth", "5",    "--json", "--stream"};
  };
  EXPECT_EQ(expect_done(streamed(db_)).json().size(), 3u);
  expect_refused(streamed(path("empty.db")), 1,
                 "cannot encode examples while weights are streamed");
  expect_refused({"search", vit_, "--data", others_, "--database", database, "--metric", "knn",
                  "--encoder", "submodel", "--stream", "--db", path("streamed.db")},
                 1, "cannot encode examples while weights are streamed");
  EXPECT_FALSE(fs::exists(path("streamed.db")));
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

// A link in the place of the folder may come with somebody's store.
TEST_F(Vision, VectorsOfADatabaseStayBesideTheStore) {
  const std::string database = images("database", 3, 60), kept = db_ + ".features";
  const std::vector<std::string> eval = {"eval",   vit_,       "--data", others_, "--database",
                                         database, "--metric", "knn",    "--db",  db_};
  fs::create_directory(path("elsewhere"));
  for (const char* target : {"elsewhere", "nothing"}) {
    fs::create_symlink(path(target), kept);
    expect_refused(eval, 1, "is a link");
    fs::remove(kept);
  }
  EXPECT_TRUE(fs::is_empty(path("elsewhere")));
  EXPECT_FALSE(fs::exists(path("nothing")));
  spew(kept, "mine");
  expect_refused(eval, 1, "is no directory");
  EXPECT_EQ(slurp(kept), "mine");
  fs::remove(kept);
  expect_done(eval);
  for (const auto& entry : fs::directory_iterator(kept)) {
    if (entry.path().string().ends_with("-X.npy")) {
      fs::resize_file(entry.path(), fs::file_size(entry.path()) - 1);
    }
  }
  expect_refused(eval, 1, "not as long as its header says; remove " + kept);
}

// The database is encoded once for a store, and a resumed run keeps its protocol.
TEST_F(Vision, RetrievalIsAMetricOfSearch) {
  const std::string database = images("database", 3, 60), db = path("knn.db");
  const std::vector<std::string> search = {
      "search",   vit_,  "--data",  images_, "--confirm", others_, "--database",        database,
      "--metric", "knn", "--depth", "5",     "--db",      db,      "--max-evaluations", "12",
      "--batch",  "6",   "--cost",  "flops", "--threads", "1"};
  const Result done = expect_done(search);
  EXPECT_NE(done.err.find("scores are of 5 nearest of 60 in database"), std::string::npos)
      << done.err;
  std::vector<std::string> kept;
  for (const auto& entry : fs::directory_iterator(db + ".features")) {
    kept.push_back(entry.path().string());
  }
  std::ranges::sort(kept);
  ASSERT_EQ(kept.size(), 2u) << "vectors and classes";
  ASSERT_TRUE(kept[0].ends_with("-X.npy")) << kept[0];
  expect_done({"features", vit_, "--data", database, "--out", path("full"), "--threads", "1"});
  EXPECT_EQ(slurp(kept[0]), slurp(path("full-X.npy")));
  EXPECT_EQ(slurp(kept[1]), slurp(path("full-y.npy")));
  for (const char* part : {"search", "confirm"}) {
    const auto front =
        expect_done({"pareto", "--db", db, "--metric", "knn", "--data", part, "--json"}).json();
    ASSERT_FALSE(front.empty()) << part;
    for (const auto& row : front) {
      EXPECT_TRUE(row["knn"].is_number());
      EXPECT_TRUE(contains(row["data"].get<std::string>(), "5 nearest of 60 in database"));
    }
  }
  expect_refused({"search", "--db", db, "--resume", "1", "--depth", "6"}, 2, "has depth 5");
  expect_refused({"search", "--db", db, "--resume", "1", "--encoder", "submodel"}, 2,
                 "has encoder full");
  expect_refused({"search", "--db", db, "--resume", "1", "--database", images("other", 4, 60)}, 2,
                 "of other content");
  // Half of the vectors: another database's.
  spew(kept[0],
       npy_head("<f4", std::vector<std::int64_t>{30, 24}) + std::string(30 * 24 * 4, '\0'));
  spew(kept[1], npy_head("|u1", std::vector<std::int64_t>{30}) + std::string(30, '\0'));
  expect_refused(search, 1, "which are not those of the database");
  std::vector<std::string> own = {"search",
                                  vit_,
                                  "--data",
                                  images_,
                                  "--database",
                                  database,
                                  "--metric",
                                  "recall",
                                  "--encoder",
                                  "submodel",
                                  "--db",
                                  path("own.db"),
                                  "--max-evaluations",
                                  "8",
                                  "--threads",
                                  "1"};
  expect_done(own);
  own.push_back("--halving");
  expect_refused(own, 2, "--halving saves nothing with --encoder submodel");
}

TEST_F(Vision, RetrievalThatCannotBeMeasuredIsRefused) {
  const std::string database = images("database", 3, 60);
  const auto eval = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", vit_, "--data", others_, "--threads", "1"});
    return more;
  };
  expect_refused(eval({"--metric", "knn"}), 2, "the metric knn searches a database of images");
  expect_refused(eval({"--database", database}), 2,
                 "for the metrics knn, map, precision, recall alone");
  expect_refused(eval({"--metric", "loss", "--depth", "3"}), 2, "--depth is of a search");
  expect_refused(eval({"--metric", "map", "--database", database, "--depth", "61"}), 2,
                 "the 61 nearest of a database of 60");
  expect_refused(eval({"--metric", "knn", "--database", search_}), 1, "it is no image set");
  expect_refused({"eval", model_, "--data", search_, "--metric", "knn", "--database", database}, 2,
                 "the metric knn is one of images, and the data are tokens");
  expect_refused({"search", vit_, "--data", others_, "--metric", "recall", "--db", path("none.db")},
                 2, "the metric recall searches a database of images");
  EXPECT_FALSE(fs::exists(path("none.db")));

  fs::create_directory(dir_ / "small");
  spew(dir_ / "small/images.npy",
       npy_head("|u1", std::vector<std::int64_t>{2, 6, 6, 3}) + std::string(216, '\7'));
  spew(dir_ / "small/labels.npy",
       npy_head("|u1", std::vector<std::int64_t>{2}) + std::string(2, '\0'));
  expect_refused(eval({"--metric", "knn", "--database", path("small"), "--depth", "1"}), 1,
                 "they are 3 x 6 x 6 (channels, height, width), and the model reads 3 x 12 x 12");
  fs::remove(dir_ / "database/labels.npy");
  expect_refused(eval({"--metric", "knn", "--database", database}), 1, "labels.npy");

  // Classes that are not there are no error: they are told, and count as not found.
  const Result two = expect_done(eval({"--metric", "knn", "--database", images("two", 5, 2),
                                       "--depth", "2", "--widths", "40x3", "--json"}));
  EXPECT_TRUE(contains(two.err,
                       "12 of the 24 images of others have a class that no image of the "
                       "database two has"))
      << two.err;
  EXPECT_LE(two.json()[0]["knn"].get<double>(), 0.5);
  EXPECT_EQ(two.json()[0]["recall"], 0.5) << "both items are looked at";
  const Result own =
      expect_done(eval({"--metric", "knn", "--database", others_, "--widths", "40x3", "--json"}));
  EXPECT_TRUE(contains(own.err, "24 images are in others and in the database others")) << own.err;
  EXPECT_EQ(own.json()[0]["knn"], 1) << "each finds itself";
  for (const auto& [data, confirm] : {std::pair(others_, images_), std::pair(images_, others_)}) {
    expect_refused({"search", vit_, "--data", data, "--confirm", confirm, "--database", others_,
                    "--metric", "knn", "--db", path("none.db")},
                   1, "24 images are in others and in the database others");
    EXPECT_FALSE(fs::exists(path("none.db")));
  }
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
