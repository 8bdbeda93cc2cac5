// Strategies as the program runs them: the default one, and what each layer loses at each width.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

using Json = nlohmann::ordered_json;

void run_sql(const std::string& db, const std::string& sql) {
  sqlite3* connection = nullptr;
  ASSERT_EQ(sqlite3_open(db.c_str(), &connection), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(connection);
  sqlite3_close(connection);
}

TEST_F(Workshop, SensitivityIsThePairedDifferenceToTheFullModel) {
  const Json table = expect_done({"sensitivity", model_, "--data", search_, "--context", "32",
                                  "--db", db_, "--threads", "1", "--json"})
                         .json();
  ASSERT_EQ(table.size(), 4u);
  for (std::size_t layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(table[layer]["layer"], layer);
    EXPECT_EQ(table[layer]["32"], 0.0);
    for (const int width : {4, 8, 16}) {
      std::string widths;
      for (std::size_t l = 0; l < 4; ++l) {
        if (l > 0) widths += ',';
        widths += std::to_string(l == layer ? width : 32);
      }
      const Json compared = expect_done({"compare", "--db", db_, widths, "32x4", "--json"}).json();
      const std::string name = std::to_string(width);
      EXPECT_EQ(table[layer][name], compared[0]["difference"]) << widths;
      EXPECT_EQ(table[layer][name + "_se"], compared[0]["difference_se"]) << widths;
    }
  }
}

// `surrogate` is what nobody named, and it asks the same whatever another strategy left behind.
TEST_F(Workshop, TheDefaultStrategyHeedsItsOwnResultsAlone) {
  const std::vector<std::string> unnamed = {"--max-evaluations", "40", "--json"};
  const Json alone = expect_done(search(unnamed, path("alone.db"))).json();
  expect_done(search({"--strategy", "random", "--seed", "7", "--max-evaluations", "100"}, db_));
  expect_done(search(unnamed, db_));
  const Json runs = expect_done({"runs", "--db", db_, "--json"}).json()["runs"];
  std::string run;
  for (const Json& row : runs) {
    if (row["strategy"] == "surrogate") run = std::to_string(row["run"].get<std::int64_t>());
  }
  ASSERT_FALSE(run.empty());
  const auto members_of = [&](const std::string& db, const std::string& of) {
    const Json members =
        expect_done({"pareto", "--db", db, "--data", "search", "--run", of, "--all", "--json"})
            .json();
    EXPECT_EQ(members.size(), 40u);
    std::set<std::string> widths;
    for (const Json& member : members) widths.insert(member["widths"]);
    return widths;
  };
  // What is known already was scored in other company, so its losses differ in their last digits,
  // and a near tie may fall the other way.
  const std::set<std::string> beside = members_of(db_, run),
                              by_itself = members_of(path("alone.db"), "1");
  std::vector<std::string> common;
  std::ranges::set_intersection(beside, by_itself, std::back_inserter(common));
  fmt::print("{} of 40 questions are the same\n", common.size());
  EXPECT_GE(common.size(), 36u);
}

// A run that a version with another default began is resumed by the strategy it had.
TEST_F(Workshop, ARunOfAnotherDefaultGoesOnWithIt) {
  expect_done(search({"--strategy", "evolution", "--population", "8", "--max-evaluations", "40"},
                     path("whole.db")));
  run_sql(path("whole.db"),
          "UPDATE run SET settings = json_remove(settings, '$.options.strategy'), "
          "status = 'stopped' WHERE strategy = 'evolution'");
  const Result resumed =
      expect_done({"search", "--db", path("whole.db"), "--resume", "1", "--threads", "1"});
  EXPECT_NE(resumed.err.find("evolution"), std::string::npos) << resumed.err;
  EXPECT_EQ(resumed.err.find("surrogate"), std::string::npos) << resumed.err;
}

}  // namespace
}  // namespace mnm::test
