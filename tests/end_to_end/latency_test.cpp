// Times of the bundled model's layers, measured, kept, and held against whole submodels.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tests/db/stores.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

using Json = nlohmann::json;
using Times = Workshop;

const std::string kBundled = MNM_SOURCE_DIR "/data/reference";

TEST_F(Times, OfEveryLayerAtEveryWidth) {
  for (const std::string phase : {"decode", "prefill"}) {
    const Json json =
        expect_done({"latency", kBundled, "--phase", phase, "--length", "16", "--batch", "2",
                     "--repeats", "3", "--checks", "3", "--db", db_, "--json"})
            .json();
    EXPECT_EQ(json["parts"].size(), 8u * 4 + 1);
    for (const Json& part : json["parts"]) EXPECT_GT(part["seconds"], 0);
    ASSERT_EQ(json["checks"].size(), 3u);
    double squares = 0;
    for (const Json& check : json["checks"]) {
      const double error = check["predicted"].get<double>() / check["seconds"].get<double>() - 1;
      EXPECT_NEAR(check["error"].get<double>(), error, 1e-12);
      squares += error * error;
    }
    EXPECT_NEAR(json["rms_error"].get<double>(), std::sqrt(squares / 3), 1e-12);
    EXPECT_FALSE(json["device"].get<std::string>().empty());
  }
}

TEST_F(Times, AreACostLikeTheOthers) {
  expect_refused(search({"--strategy", "uniform", "--cost", "latency"}, path("none.db")), 1,
                 "none.db");
  expect_done(search({"--strategy", "monotone"}, db_));
  expect_refused(search({"--strategy", "uniform", "--cost", "latency"}, db_), 2,
                 "mixnmatch latency");
  expect_refused({"pareto", "--db", db_, "--cost", "latency"}, 2, "mixnmatch latency");
  const Json json = expect_done({"latency", model_, "--length", "16", "--repeats", "3", "--checks",
                                 "2", "--threads", "1", "--db", db_, "--json"})
                        .json();
  ASSERT_EQ(json["latency"], 1);
  // Another measurement of the same things, which this machine's load had no part in: a layer takes
  // a millisecond, and one more for each unit of its width.
  {
    Store store = Store::open(db_, Store::Mode::kWrite);
    LatencyRow row = store.latencies(1).at(0);
    for (LatencyPart& part : row.measured.parts) part.seconds = {1e-3 * (1 + part.width), 0};
    row.measured.checks.clear();
    row.created.clear();
    ASSERT_EQ(store.add_latency(row), 2);
  }

  // Under a budget between the least and the most that a submodel takes, by the measured parts.
  const Json all =
      expect_done({"pareto", "--db", db_, "--data", "search", "--latency", "2", "--all", "--json"})
          .json();
  std::int64_t least = INT64_MAX, most = 0;
  for (const Json& record : all) {
    least = std::min(least, record["latency"].get<std::int64_t>());
    most = std::max(most, record["latency"].get<std::int64_t>());
  }
  ASSERT_LT(least, most);
  const std::int64_t limit = (least + most) / 2;
  const std::string budget = std::to_string(limit) + "ns";
  const Json front = expect_done({"pareto", "--db", db_, "--data", "search", "--cost", "latency",
                                  "--budget", budget, "--json"})
                         .json();
  ASSERT_FALSE(front.empty());
  for (std::size_t i = 0; i < front.size(); ++i) {
    EXPECT_LE(front[i]["latency"], limit);
    if (i == 0) continue;
    EXPECT_GT(front[i]["latency"], front[i - 1]["latency"]);
    EXPECT_LT(front[i]["loss"], front[i - 1]["loss"]);
  }
  // On other threads than were measured nothing is timed again, so what is best does not depend on
  // this machine's load.
  std::vector<std::string> elsewhere =
      search({"--strategy", "evolution", "--max-evaluations", "40", "--population", "8", "--cost",
              "latency", "--budget", budget, "--json"},
             db_);
  *(std::ranges::find(elsewhere, "--threads") + 1) = "3";
  const Result done = expect_done(elsewhere);
  EXPECT_LE(done.json()["best"]["latency"], limit);
  EXPECT_NE(done.err.find("were not measured again"), std::string::npos) << done.err;
  expect_done({"export", model_, "--db", db_, "--best", "--data", "search", "--budget", budget,
               "--out", path("best"), "--no-check"});
  expect_done(
      {"export", model_, "--db", db_, "--budget", budget, "--out", path("rule"), "--dry-run"});
  expect_refused({"export", model_, "--budget", budget, "--out", path("x"), "--dry-run"}, 2,
                 "--db");
  expect_refused(search({"--strategy", "uniform", "--budget", "1ns"}, db_), 2, "nanoseconds");
  expect_refused(search({"--strategy", "uniform", "--budget", "latency=12M"}, db_), 2, "no time");
  expect_refused(search({"--strategy", "uniform", "--budget", "bytes=12ms"}, db_), 2, "is a time");
  expect_refused({"pareto", "--db", db_, "--cost", "latency", "--latency", "9"}, 2, "newest is 2");
}

TEST_F(Times, AreMeasuredAgainWhenASearchEnds) {
  expect_done({"latency", model_, "--length", "16", "--repeats", "3", "--checks", "0", "--threads",
               "1", "--db", db_});
  // No machine is so slow.
  const Json json = expect_done(search({"--strategy", "monotone", "--cost", "latency", "--budget",
                                        "900000ms", "--json"},
                                       db_))
                        .json();
  ASSERT_GT(json["members"].size(), 1u);
  for (const Json& member : json["members"]) {
    EXPECT_GT(member["measured_latency"], 0);
    EXPECT_GE(member["measured_latency_se"], 0);
    EXPECT_GE(member["measured_latency_spread"], 0);
    EXPECT_GT(member["latency"], 0);
  }
  EXPECT_GT(json["best"]["measured_latency"], 0);
  EXPECT_EQ(query(db_, "SELECT widths FROM latency_whole WHERE repeats = 3").size(),
            json["members"].size());
  const std::vector<std::string> best = {"export",   model_,   "--db",    db_,        "--best",
                                         "--data",   "search", "--cost",  "latency",  "--budget",
                                         "900000ms", "--out",  path("x"), "--dry-run"};
  expect_done(best);
  query(db_, "UPDATE latency_whole SET seconds = 1000");
  expect_refused(best, 2, "measured above");
}

// A store may be a stranger's, and a measurement in it of passes that no machine makes.
TEST_F(Times, OfAStoreThatExaggeratesAreNotMeasuredAgain) {
  expect_done({"latency", model_, "--length", "16", "--repeats", "3", "--checks", "0", "--threads",
               "1", "--db", db_});
  const std::vector<std::string> again =
      search({"--strategy", "uniform", "--cost", "latency", "--json"}, db_);
  for (const auto& [column, says] :
       {std::pair<std::string, std::string>{"batch", "is of 2147483647 sequences of 17 positions"},
        {"length", "positions, and the model has 32"},
        {"repeats", "is of 2147483647 repeats, and at most 10000"}}) {
    query(db_, "UPDATE latency SET batch = 1, length = 16, repeats = 3");
    query(db_, "UPDATE latency SET " + column + " = 2147483647");
    const Result done = expect_done(again);
    const std::string why = done.json().value("not_timed", "");
    EXPECT_NE(why.find(says), std::string::npos) << column << ": " << why;
    EXPECT_NE(done.err.find("were not measured again: " + why), std::string::npos) << done.err;
  }
  EXPECT_TRUE(query(db_, "SELECT id FROM latency_whole").empty());
}

TEST_F(Times, WhatIsWrongIsOneSentence) {
  expect_refused({"latency", model_, "--length", "32"}, 2, "33 positions");
  expect_refused({"latency", model_, "--length", "33", "--phase", "prefill"}, 2, "33 positions");
  expect_refused({"latency", model_, "--phase", "training"}, 2, "decode");
  expect_refused({"latency", model_, "--repeats", "0"}, 2, "repeats");
  expect_refused({"latency", model_, "--batch", "-1"}, 2, "batch");
}

}  // namespace
}  // namespace mnm::test
