// Retrieval by images: vectors, exact search of them, and its scores as metrics of eval and search.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "dataset/feature_file.h"
#include "dataset/npy.h"
#include "tests/end_to_end/image_workshop.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"

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

class ImageRetrieval : public ImageWorkshop {
 protected:
  ImageRetrieval() : ImageWorkshop(40, 24, {{"layer_norm_eps", 1e-6}}) {}
};

// A narrow submodel's queries in the full model's database, against a comparison of all pairs.
TEST_F(ImageRetrieval, FeaturesAreSearchedExactly) {
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
TEST_F(ImageRetrieval, RetrievalIsAMetricOfEval) {
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

// A link in the place of the folder may come with somebody's store.
TEST_F(ImageRetrieval, VectorsOfADatabaseStayBesideTheStore) {
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
TEST_F(ImageRetrieval, RetrievalIsAMetricOfSearch) {
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

TEST_F(ImageRetrieval, RetrievalThatCannotBeMeasuredIsRefused) {
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

}  // namespace
}  // namespace mnm::test
