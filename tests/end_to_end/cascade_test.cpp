// mixnmatch cascade, against the values per example that SQLite itself reads from the store.
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "tests/end_to_end/image_workshop.h"

namespace mnm::test {
namespace {

using Json = nlohmann::json;

class Cascade : public ImageWorkshop {
 protected:
  Cascade() : ImageWorkshop(90, 60) {}

  // Scores submodels of the model of images into the store.
  Json eval(const std::string& data, const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"eval", vit_,     "--data",    data, "--db",
                                    db_,    "--json", "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return expect_done(all).json();
  }

  std::vector<std::string> cascade(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"cascade", "8x3", "40x3", "--db", db_};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  // Of every example, as doubles.
  std::vector<double> values(const std::string& data, const std::string& widths,
                             const std::string& metric) const {
    sqlite3* connection = nullptr;
    EXPECT_EQ(sqlite3_open(db_.c_str(), &connection), SQLITE_OK);
    const std::string sql =
        "SELECT e.f32 FROM example_scores e JOIN record r ON r.id = e.record "
        "JOIN data d ON d.id = r.data WHERE d.name = '" +
        data + "' AND r.widths = '" + widths + "' AND e.metric = '" + metric + "'";
    sqlite3_stmt* row = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(connection, sql.c_str(), -1, &row, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_step(row), SQLITE_ROW) << sql;
    std::vector<float> found(static_cast<std::size_t>(sqlite3_column_bytes(row, 0)) /
                             sizeof(float));
    if (!found.empty()) {
      std::memcpy(found.data(), sqlite3_column_blob(row, 0), found.size() * sizeof(float));
    }
    sqlite3_finalize(row);
    sqlite3_close(connection);
    return {found.begin(), found.end()};
  }

  // Changes the store, whatever its triggers say.
  void change(const std::string& sql) const {
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open(db_.c_str(), &connection), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(connection);
    sqlite3_close(connection);
  }

  // The record of these widths on these data, in SQL.
  static std::string record_on(const std::string& data, const std::string& widths) {
    return fmt::format(
        "(SELECT r.id FROM record r JOIN data d ON d.id = r.data WHERE d.name = '{}' AND r.widths "
        "= '{}')",
        data, widths);
  }

  // Makes the value of its first example infinite, in SQL.
  static std::string with_infinity(const std::string& data, const std::string& widths,
                                   const std::string& metric) {
    return fmt::format(
        "UPDATE example_scores SET f32 = CAST(x'0000807f' || substr(f32, 5) AS BLOB) WHERE record "
        "= {} AND metric = '{}'",
        record_on(data, widths), metric);
  }

  // Makes it the only member of the front of the search part.
  void let_lead(const std::string& widths) const {
    const std::string front =
        "FROM front f JOIN data d ON d.id = f.data "
        "WHERE d.name = 'images' AND f.metric = 'accuracy' AND f.cost_kind = 'flops'";
    change("DELETE FROM member WHERE front IN (SELECT f.id " + front +
           "); INSERT INTO member (front, cost, objective, record) SELECT f.id, 1, -1.0, " +
           record_on("images", widths) + " " + front);
  }

  // The accuracies of the cascade of 8x3 and 40x3, and the share that goes on.
  std::pair<std::vector<double>, double> by_definition(const std::string& data,
                                                       double threshold) const {
    const std::vector<double> sure = values(data, "8x3", "confidence");
    std::vector<double> accuracy = values(data, "8x3", "accuracy");
    const std::vector<double> wide = values(data, "40x3", "accuracy");
    double on = 0;
    for (std::size_t i = 0; i < sure.size(); ++i) {
      if (sure[i] >= threshold) continue;
      accuracy[i] = wide[i];
      ++on;
    }
    return {accuracy, on / static_cast<double>(sure.size())};
  }
};

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::size_t chosen_in(const Json& found) { return found["chosen"].get<std::size_t>(); }

TEST_F(Cascade, IsWhatTheValuesPerExampleSay) {
  const std::vector<std::string> measured = {"--widths", "uniform", "--metric", "confidence"};
  const Json searched = eval(images_, measured);
  eval(images_, {"--widths", "8", "--part", "search"});
  eval(others_, {"--widths", "uniform", "--metric", "confidence", "--part", "confirm"});
  const Json again = expect_done({"eval", vit_, "--data", images_, "--metric", "confidence",
                                  "--one-by-one", "--json", "--threads", "1"})
                         .json();
  ASSERT_EQ(searched.size(), 3u);
  for (std::size_t i = 0; i < searched.size(); ++i) {
    const double sure = searched[i]["confidence"].get<double>();
    EXPECT_NEAR(sure, again[i]["confidence"].get<double>(), 2e-5);
    EXPECT_GE(sure, 0.25) << "of four classes one has at least a quarter";
    EXPECT_LE(sure, 1);
  }

  const Json found =
      expect_done(cascade({"--steps", "10", "--json", "--svg", path("c.svg")})).json();
  const double narrow = searched[0]["flops"].get<double>(),
               wide = searched[2]["flops"].get<double>();
  EXPECT_EQ(found["a"]["flops"].get<double>(), narrow);
  EXPECT_EQ(found["b"]["flops"].get<double>(), wide);
  const Json& rows = found["thresholds"];
  ASSERT_GE(rows.size(), 2u);
  std::size_t cheapest = rows.size();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const bool confirm : {false, true}) {
      const std::string data = confirm ? "others" : "images", prefix = confirm ? "" : "search_";
      const auto [accuracy, on] = by_definition(data, rows[i]["threshold"].get<double>());
      const auto got = [&](const std::string& key) { return rows[i][prefix + key].get<double>(); };
      EXPECT_NEAR(got("goes_on"), on, 1e-12);
      EXPECT_NEAR(got("flops"), narrow + on * wide, 1e-9 * wide);
      EXPECT_NEAR(got("accuracy"), mean(accuracy), 1e-12);
      const double gained = mean(accuracy) - mean(values(data, "40x3", "accuracy"));
      EXPECT_NEAR(got("difference"), gained, 1e-12);
      if (!confirm && gained > -1e-12) cheapest = std::min(cheapest, i);
    }
    EXPECT_EQ(rows[i]["chosen"].get<bool>(), i == chosen_in(found));
  }
  EXPECT_EQ(rows.front()["search_goes_on"], 0);
  EXPECT_EQ(rows.back()["search_goes_on"], 1);
  EXPECT_EQ(chosen_in(found), cheapest);

  // The most accurate on the search part of the three that were scored, the cheapest of equals.
  const Json& chosen = rows[chosen_in(found)];
  std::size_t best = 0;
  for (std::size_t i = 1; i < 3; ++i) {
    if (searched[i]["flops"].get<double>() > chosen["flops"].get<double>()) continue;
    if (searched[i]["accuracy"].get<double>() > searched[best]["accuracy"].get<double>()) best = i;
  }
  const std::string single = searched[best]["widths"].get<std::string>();
  EXPECT_EQ(found["front"]["widths"], single);
  EXPECT_NEAR(found["front"]["difference"].get<double>(),
              chosen["accuracy"].get<double>() - mean(values("others", single, "accuracy")), 1e-12);
  const std::string picture = slurp(path("c.svg"));
  for (const char* part : {"cascade by threshold (", "FLOPs per image, forward, on average",
                           "accuracy, share of targets", "uniform 16", "threshold 0."}) {
    EXPECT_NE(picture.find(part), std::string::npos) << part;
  }
}

TEST_F(Cascade, TheThresholdIsChosenAsAsked) {
  for (const auto& [data, part] : {std::pair(images_, "search"), std::pair(others_, "confirm")}) {
    eval(data, {"--metric", "confidence", "--part", part});
  }
  const Result text = expect_done(cascade({}));
  for (const char* part :
       {"FLOPs per image", "confirmed accuracy", "chosen on images: threshold ",
        "at least as accurate as B", "on others: accuracy ", "beside the front: "}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  EXPECT_EQ(expect_done({"cascade", "1", "3", "--db", db_}).out, text.out) << "by their numbers";
  EXPECT_TRUE(expect_done(cascade({"--csv"})).out.starts_with("threshold,search_goes_on,"));

  EXPECT_EQ(chosen_in(expect_done(cascade({"--keep-accuracy", "1", "--json"})).json()), 0u);
  const Json all = expect_done(cascade({"--json"})).json();
  const auto narrow = all["a"]["flops"].get<std::int64_t>(),
             wide = all["b"]["flops"].get<std::int64_t>();
  for (const std::int64_t most : {narrow, narrow + wide / 2, narrow + wide}) {
    const Json found =
        expect_done(cascade({"--budget-flops", std::to_string(most), "--json"})).json();
    const Json& chosen = found["thresholds"][chosen_in(found)];
    EXPECT_LE(chosen["search_flops"].get<double>(), static_cast<double>(most));
    for (const Json& row : found["thresholds"]) {
      if (row["search_flops"].get<double>() > static_cast<double>(most)) continue;
      EXPECT_LE(row["search_accuracy"], chosen["search_accuracy"]);
    }
  }
  // Of searched and confirmed data exchanged, the tables are, too.
  const Json swapped =
      expect_done(cascade({"--data", "others", "--confirm", "images", "--json"})).json();
  EXPECT_EQ(swapped["search"], "others");
  EXPECT_EQ(swapped["confirm"], "images");
}

TEST_F(Cascade, SaysWhatTheStoreLacks) {
  eval(images_, {});
  expect_refused(cascade({}), 2, "8x3 and 40x3 were not both scored on a search part");
  eval(images_, {"--part", "search"});
  expect_refused(cascade({}), 2,
                 "were not both scored on a confirm part: do it with 'mixnmatch eval vit --data "
                 "DATA --widths 8x3 --widths 40x3 --metric confidence --part confirm --db ");
  eval(others_, {"--widths", "8", "--part", "confirm"});
  expect_refused(cascade({}), 2, "eval vit --data others --widths 8x3 --widths 40x3 --metric");
  eval(others_, {"--widths", "40"});
  expect_refused(cascade({}), 2, "the store has no confidence of 8x3 for each example of images");
  eval(images_, {"--widths", "8", "--metric", "confidence"});
  expect_refused(cascade({}), 2, "the store has no confidence of 8x3 for each example of others");
  eval(others_, {"--widths", "8", "--metric", "confidence"});
  expect_done(cascade({}));

  let_lead("16x3");  // which was not scored on the confirm part
  const Result text = expect_done(cascade({}));
  EXPECT_NE(text.out.find("not compared with the front: its best that costs no more, 16x3"),
            std::string::npos)
      << text.out;
  EXPECT_NE(text.out.find("eval vit --data others --widths 16x3 --metric confidence --db"),
            std::string::npos)
      << text.out;
  EXPECT_TRUE(expect_done(cascade({"--json"})).json()["front"]["missing"].is_string());
}

// Values that a damaged store claims: infinite ones, so that no threshold would meet any goal.
TEST_F(Cascade, RefusesValuesThatAreNone) {
  for (const auto& [data, part] : {std::pair(images_, "search"), std::pair(others_, "confirm")}) {
    eval(data, {"--metric", "confidence", "--part", part});
  }
  for (const auto& [data, widths, metric] :
       {std::tuple("others", "40x3", "accuracy"), std::tuple("images", "40x3", "accuracy"),
        std::tuple("images", "8x3", "confidence")}) {
    change(with_infinity(data, widths, metric));
    EXPECT_TRUE(std::isinf(values(data, widths, metric).front()));
    expect_refused(cascade({}), 2,
                   fmt::format("cannot make a cascade on {}: the {} of its example 0 is inf, "
                               "expected 0 to 1",
                               data, metric));
  }
}

// What a damaged store says of a record as a whole.
TEST_F(Cascade, RefusesCostsAndScoresThatAreNone) {
  const Json scored = eval(images_, {"--metric", "confidence", "--part", "search"});
  eval(others_, {"--metric", "confidence", "--part", "confirm"});
  let_lead("16x3");
  expect_done(cascade({}));
  const std::string sound = slurp(db_);
  const auto score = [](const std::string& data, const std::string& widths,
                        const std::string& metric, const std::string& what) {
    return fmt::format(
        "DROP TRIGGER score_stays; UPDATE score SET {} WHERE record = {} AND metric = '{}'", what,
        record_on(data, widths), metric);
  };
  const std::pair<std::string, std::string> cases[] = {
      {"DROP TRIGGER record_stays; UPDATE record SET flops = 99999999 WHERE id = " +
           record_on("others", "8x3"),
       fmt::format("the narrow submodel comes first and costs less, but 8x3 has 99999999 FLOPs per "
                   "image and 40x3 has {} on others",
                   scored[2]["flops"].get<std::int64_t>())},
      {score("others", "40x3", "accuracy", "value = 1e308"), " (40x3) is 1e+308, expected 0 to 1"},
      {score("images", "8x3", "accuracy", "value = -0.5"), " (8x3) is -0.5, expected 0 to 1"},
      {score("others", "8x3", "accuracy", "standard_error = 1e308"),
       "cannot make a cascade on others: the standard error of the accuracy of record "},
      {score("images", "8x3", "confidence", "value = 2"),
       "cannot make a cascade on images: the confidence of record "},
      {score("images", "16x3", "accuracy", "value = 1e308"),
       "cannot make a cascade on images: the accuracy of record "},
      {score("others", "16x3", "accuracy", "value = 1e308"), " (16x3) is 1e+308, expected 0 to 1"},
      {with_infinity("others", "16x3", "accuracy"),
       " (16x3) on others: the accuracy of its example 0 is inf, expected 0 to 1"}};
  for (const auto& [sql, sentence] : cases) {
    spew(db_, sound);
    change(sql);
    expect_refused(cascade({}), 2, sentence);
  }
  // A picture also shows those that are on no front.
  spew(db_, sound);
  let_lead("8x3");
  change(score("others", "16x3", "accuracy", "value = 1e308"));
  expect_done(cascade({}));
  expect_refused(cascade({"--svg", path("c.svg")}), 2, " (16x3) is 1e+308, expected 0 to 1");
}

// With a protocol the data are other ones, and their values are the same.
TEST_F(Cascade, RefusesToConfirmOnWhatChose) {
  eval(images_, {"--metric", "confidence", "--part", "search"});
  const std::vector<std::string> retrieval = {"--metric", "knn",     "--database", others_,
                                              "--part",   "confirm", "--widths",   "8"};
  eval(images_, retrieval);
  expect_refused(cascade({}), 2, "score it with 'mixnmatch eval' on the same data, with the");
  eval(images_,
       {"--metric", "confidence", "--metric", "knn", "--database", others_, "--part", "confirm"});
  expect_refused(cascade({}), 2, "hold the same examples: name other data");
}

TEST_F(Cascade, RefusesWhatIsNoCascade) {
  for (const auto& [data, part] : {std::pair(images_, "search"), std::pair(others_, "confirm")}) {
    eval(data, {"--metric", "confidence", "--part", part});
  }
  for (const std::string wide : {"8x3", "16x3"}) {
    expect_refused({"cascade", "16x3", wide, "--db", db_}, 2,
                   "the narrow submodel comes first and costs less, but 16x3 has ");
  }
  expect_refused({"cascade", "12x3", "40x3", "--db", db_}, 2, "no record of widths '12x3'");
  expect_refused({"cascade", "8x3", "99", "--db", db_}, 2, "the store has no record 99");
  expect_refused({"cascade", "8x3", "--db", db_}, 2, "B");
  expect_refused(cascade({"--confirm", "images"}), 2, "name other data with --data or --confirm");
  expect_refused(cascade({"--data", "nothing"}), 2, "called 'nothing'");
  expect_refused(cascade({"--dtype", "bf16"}), 2, "--dtype bf16 --db");
  expect_refused(cascade({"--keep-accuracy", "0.1", "--budget-flops", "1M"}), 2, "give one");
  expect_refused(cascade({"--keep-accuracy", "2"}), 2, "lies outside 0 to 1");
  expect_refused(cascade({"--budget-flops", "1"}), 2,
                 "no threshold stays within 1 FLOPs per image: A alone has ");
  expect_refused(cascade({"--steps", "0"}), 2, "from 1 to 10000");
  expect_refused(cascade({"--json", "--csv"}), 2, "exclude each other");
  spew(path("there.svg"), "mine");
  expect_refused(cascade({"--svg", path("there.svg")}), 1, "there.svg");
  EXPECT_EQ(slurp(path("there.svg")), "mine");
  expect_refused(cascade({"--svg", path("there.svg"), "--force"}), 1, "this program drew");
  EXPECT_EQ(slurp(path("there.svg")), "mine");
  std::filesystem::remove(path("there.svg"));
  for (const char* which : {"--json", "--force"}) {
    expect_done(cascade({"--svg", path("there.svg"), which}));
  }

  const std::string words = path("words.db");
  for (const auto& [data, part] : {std::pair(search_, "search"), std::pair(confirm_, "confirm")}) {
    expect_done({"eval", model_, "--data", data, "--context", "32", "--metric", "confidence",
                 "--part", part, "--db", words, "--threads", "1"});
  }
  expect_refused({"cascade", "4x4", "32x4", "--db", words}, 2,
                 "whether the narrow submodel is sure of its one answer, and these are 8 sequences "
                 "of 32 tokens");
}

}  // namespace
}  // namespace mnm::test
