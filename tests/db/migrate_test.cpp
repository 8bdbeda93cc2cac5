// Stores of older versions: read as they are, and brought up to date when they are written.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "db/store.h"
#include "tests/db/stores.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using Rows = std::vector<std::vector<std::string>>;

constexpr const char* kPareto =
    "SELECT model, data, part, context, dtype, metric, cost_kind, widths, cost, value, "
    "standard_error, perplexity, record, latency FROM pareto";

Rows measured_rows(const Record& record) {
  Rows rows;
  for (const MetricRow& row : metric_table()) {
    const auto& measured = record[row.metric];
    if (!measured) continue;
    rows.push_back({std::to_string(record.id), to_string(record.widths), std::string(row.name),
                    std::string(record.status(row.metric)), fmt::format("{}", measured->value),
                    fmt::format("{}", measured->standard_error),
                    std::to_string(record.cost.flops)});
  }
  return rows;
}

// All that a program asks of a store, as text.
Rows answers_of(const Store& store) {
  Rows rows;
  const auto append = [&](const Rows& more) { rows.insert(rows.end(), more.begin(), more.end()); };
  for (const auto& [id, row] : store.models()) rows.push_back({row.fingerprint, row.name});
  for (const auto& [id, row] : store.datasets()) {
    rows.push_back({row.fingerprint, row.name, row.kind, std::to_string(row.sequences)});
  }
  for (const RunRow& run : store.runs()) {
    rows.push_back({std::to_string(run.id), std::to_string(run.session), run.settings, run.status});
    for (const Record& record : store.records_of(run.id)) append(measured_rows(record));
  }
  FrontQuery query;
  for (const CostKind kind : kExactCosts) {
    for (const MetricRow& metric : metric_table()) {
      query.cost = kind;
      query.metric = metric.metric;
      query.min_cost.reset();
      rows.push_back({std::string(metric.name), std::string(to_string(kind))});
      for (const Record& record : store.front(query)) append(measured_rows(record));
      query.min_cost = 600'000;  // computed, and not kept
      for (const Record& record : store.front(query)) append(measured_rows(record));
    }
  }
  query = {};
  query.all = true;
  for (const Record& record : store.front(query)) {
    append(measured_rows(record));
    for (const float value : store.per_example(record.id, Metric::kLoss)) {
      rows.back().push_back(fmt::format("{}", value));
    }
    EXPECT_TRUE(store.find(record.model, record.data, record.dtype, record.widths));
  }
  return rows;
}

TEST(Upgrade, AStoreOfVersion4SaysTheSameWhenReadAndWhenBroughtUpToDate) {
  const test::TempDir directory;
  const auto path = directory / "old.db";
  test::make_version_4(path);
  const Rows view = test::query(path, kPareto);
  ASSERT_GT(view.size(), 100u);
  const Rows losses = test::query(path, "SELECT record, hex(f32) FROM losses ORDER BY record");
  const Rows records = test::query(path, "SELECT id, run, widths, flops FROM record ORDER BY id");
  const std::string bytes = test::slurp(path);

  const Rows answers = answers_of(Store::open(path, Store::Mode::kRead));
  EXPECT_EQ(test::slurp(path), bytes);
  // Two searches and what confirmed them are one session; the evaluations stand alone.
  std::vector<std::int64_t> sessions;
  for (const RunRow& run : Store::open(path, Store::Mode::kRead).runs()) {
    sessions.push_back(run.session);
  }
  EXPECT_EQ(sessions, (std::vector<std::int64_t>{1, 1, 1, 4, 5}));

  Store::open(path, Store::Mode::kWrite);
  EXPECT_EQ(test::cell(path, "PRAGMA user_version"), "6");
  EXPECT_EQ(test::query(path, kPareto), view);
  EXPECT_EQ(answers_of(Store::open(path, Store::Mode::kRead)), answers);
  EXPECT_EQ(test::query(path, "SELECT record, hex(f32) FROM example_scores ORDER BY record"),
            losses);
  EXPECT_EQ(test::query(path, "SELECT id, run, widths, flops FROM record ORDER BY id"), records);
  EXPECT_EQ(test::query(path, "PRAGMA foreign_key_check").size(), 0u);
  EXPECT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
}

// What front queries say is also what the view of version 4 said by itself.
TEST(Upgrade, FrontsOfAStoreOfVersion4AreThoseOfItsView) {
  const test::TempDir directory;
  const auto path = directory / "old.db";
  test::make_version_4(path);
  const Store store = Store::open(path, Store::Mode::kRead);
  for (const CostKind kind : kExactCosts) {
    for (const MetricRow& metric : metric_table()) {
      FrontQuery query;
      query.cost = kind;
      query.metric = metric.metric;
      Rows found;
      for (const Record& record : store.front(query)) {
        found.push_back({std::to_string(record.id), std::to_string(record.cost.of(kind))});
      }
      EXPECT_EQ(test::query(path, fmt::format("SELECT record, cost FROM pareto WHERE metric = '{}' "
                                              "AND cost_kind = '{}'",
                                              metric.name, to_string(kind))),
                found)
          << metric.name << " by " << to_string(kind);
    }
  }
}

// A store that was brought up to date is one of this version: the same tables and columns, the same
// triggers and views, and it takes records as before.
TEST(Upgrade, WhatItBecomesIsAStoreOfThisVersion) {
  const test::TempDir directory;
  const auto path = directory / "old.db", fresh = directory / "fresh.db";
  test::make_version_4(path);
  Store::open(fresh, Store::Mode::kWrite);
  Store store = Store::open(path, Store::Mode::kWrite);
  for (const char* what :
       {"SELECT type, name, tbl_name FROM sqlite_schema ORDER BY name",
        "SELECT name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger') ORDER BY name",
        "SELECT m.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema m, "
        "pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.name",
        "SELECT m.name, f.\"table\", f.\"from\" FROM sqlite_schema m, "
        "pragma_foreign_key_list(m.name) f WHERE m.type = 'table' ORDER BY 1, 2, 3"}) {
    EXPECT_EQ(test::query(path, what), test::query(fresh, what)) << what;
  }
  RunRow run = test::run_row(1, 1);
  run.session = 1;
  const std::int64_t id = store.begin_run(run);
  Score score = test::score({1, 2, 3, 4, 5, 6, 7, 8}, 0.25, 7);
  score.metrics[Metric::kAccuracy] = Measured{0.5, 0.125};
  const Record added = store.add(id, {&score, 1}).front();
  EXPECT_EQ(store.run(id)->session, 1);
  FrontQuery query;
  query.metric = Metric::kAccuracy;
  ASSERT_EQ(store.front(query).size(), 1u);
  EXPECT_EQ(store.front(query).front().id, added.id);
  EXPECT_THROW(test::query(path, "DELETE FROM score"), std::runtime_error);
}

TEST(Upgrade, AStoreOfVersion5IsReadAndGainsATable) {
  const test::TempDir directory;
  const auto path = directory / "old.db", fresh = directory / "fresh.db";
  test::make_version_4(path);
  const Rows answers = answers_of(Store::open(path, Store::Mode::kWrite));
  test::make_version_5(path);
  const Store reader = Store::open(path, Store::Mode::kRead);
  EXPECT_EQ(answers_of(reader), answers);
  EXPECT_TRUE(reader.whole_latencies(1).empty());
  EXPECT_EQ(test::cell(path, "PRAGMA user_version"), "5");

  Store store = Store::open(path, Store::Mode::kWrite);
  EXPECT_EQ(test::cell(path, "PRAGMA user_version"), "6");
  EXPECT_EQ(answers_of(store), answers);
  ASSERT_GT(store.latencies(1).size(), 0u);
  WholeLatencyRow row;
  row.latency = store.latencies(1).front().id;
  row.run = 1;
  row.measured = {{1, 2, 3, 4, 5, 6, 7, 8}, 0.5, {0.25, 0.125}};
  row.repeats = 3;
  store.add_whole_latencies({&row, 1});
  EXPECT_EQ(reader.whole_latencies(row.latency).size(), 1u);
  Store::open(fresh, Store::Mode::kWrite);
  const char* what = "SELECT type, name, tbl_name FROM sqlite_schema ORDER BY name";
  EXPECT_EQ(test::query(path, what), test::query(fresh, what));
}

TEST(Upgrade, AReaderFollowsAStoreThatAnotherBringsUpToDate) {
  const test::TempDir directory;
  const auto path = directory / "old.db";
  test::make_version_4(path);
  const Store reader = Store::open(path, Store::Mode::kRead);
  const Rows answers = answers_of(reader);
  const Store writer = Store::open(path, Store::Mode::kWrite);
  EXPECT_EQ(answers_of(reader), answers);
  EXPECT_EQ(answers_of(writer), answers);
}

TEST(Upgrade, StoresOfVersions3And2AreReadAndShowWhatTheyHold) {
  const test::TempDir directory;
  const auto path = directory / "old.db";
  test::make_version_4(path);
  const Rows view = test::query(path, kPareto);
  const Rows answers = answers_of(Store::open(path, Store::Mode::kRead));
  test::make_version_3(path);
  EXPECT_EQ(answers_of(Store::open(path, Store::Mode::kRead)), answers);
  EXPECT_EQ(Store::open(path, Store::Mode::kRead).latencies(1).size(), 2u);
  const std::string version_3 = test::slurp(path);
  EXPECT_EQ(Store::open(path, Store::Mode::kRead).runs().size(), 5u);
  EXPECT_EQ(test::slurp(path), version_3);
  Store::open(path, Store::Mode::kWrite);
  EXPECT_EQ(test::query(path, kPareto), view);

  const auto older = directory / "older.db";
  test::make_version_4(older);
  test::make_version_3(older);
  test::make_version_2(older);
  {
    const Store store = Store::open(older, Store::Mode::kRead);
    EXPECT_EQ(answers_of(store), answers);
    EXPECT_TRUE(store.latencies(1).empty());
    EXPECT_TRUE(store.verifications().empty());
  }
  EXPECT_EQ(test::cell(older, "PRAGMA user_version"), "2");
  const Store store = Store::open(older, Store::Mode::kWrite);
  EXPECT_EQ(test::cell(older, "PRAGMA user_version"), "6");
  EXPECT_EQ(answers_of(store), answers);
  EXPECT_TRUE(store.verifications().empty());
}

}  // namespace
}  // namespace mnm
