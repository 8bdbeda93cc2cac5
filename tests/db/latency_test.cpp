// Measured times in the store, and stores from before there were any.
#include <gtest/gtest.h>

#include "db/store.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

LatencyRow row(std::int64_t model) {
  LatencyRow row;
  row.model = model;
  row.measured.device = "cpu, 2 threads";
  row.measured.dtype = Dtype::kBF16;
  row.measured.workload = {Phase::kPrefill, 3, 77};
  row.measured.repeats = 21;
  row.measured.parts = {{kFixedPart, 0, {0.5, 0.01}}, {0, 64, {0.001, 0}}, {0, 128, {0.002, 1e-9}}};
  row.measured.checks = {{{64}, 0.501, {0.51, 0.02}}};
  row.seed = 0xfedcba9876543210;
  row.build = "build";
  row.command_line = "mixnmatch latency";
  return row;
}

TEST(StoredLatency, ComesBack) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  {
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t model = store.model(test::model_row());
    const std::int64_t other = store.model(test::model_row("other"));
    EXPECT_EQ(store.add_latency(row(model)), 1);
    EXPECT_EQ(store.add_latency(row(other)), 2);
    EXPECT_EQ(store.add_latency(row(model)), 3);
  }
  const Store store = Store::open(path, Store::Mode::kRead);
  const std::vector<LatencyRow> found = store.latencies(1);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].id, 1);
  EXPECT_EQ(found[1].id, 3);
  const LatencyRow expected = row(1);
  const Latency& latency = found[1].measured;
  EXPECT_EQ(latency.device, expected.measured.device);
  EXPECT_EQ(latency.dtype, Dtype::kBF16);
  EXPECT_EQ(latency.workload.phase, Phase::kPrefill);
  EXPECT_EQ(latency.workload.batch, 3);
  EXPECT_EQ(latency.workload.length, 77);
  EXPECT_EQ(latency.repeats, 21);
  EXPECT_EQ(found[1].seed, expected.seed);
  EXPECT_EQ(found[1].created.size(), 20u);
  ASSERT_EQ(latency.parts.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(latency.parts[i].layer, expected.measured.parts[i].layer);
    EXPECT_EQ(latency.parts[i].width, expected.measured.parts[i].width);
    EXPECT_EQ(latency.parts[i].seconds.median, expected.measured.parts[i].seconds.median);
    EXPECT_EQ(latency.parts[i].seconds.spread, expected.measured.parts[i].seconds.spread);
  }
  ASSERT_EQ(latency.checks.size(), 1u);
  EXPECT_EQ(latency.checks[0].widths, Widths{64});
  EXPECT_EQ(latency.checks[0].predicted, 0.501);
  EXPECT_EQ(latency.checks[0].seconds.median, 0.51);
}

// What is measured is a cost like the others: fronts, limits and order.
TEST(StoredLatency, FrontsAreTakenByIt) {
  const test::TempDir directory;
  Store store = Store::open(directory / "results.db", Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t data = store.data(test::data_row());
  const std::int64_t run = store.begin_run(test::run_row(model, data));
  // Wider takes longer, by 1 us a neuron beside 100 us; parameters say the opposite.
  std::vector<LatencyPart> parts = {{kFixedPart, 0, {1e-4, 0}}};
  parts.push_back({0, 1, {1e-6, 0}});
  parts.push_back({0, 50, {5e-5, 0}});
  const LatencyTable table(parts);
  std::vector<Record> records;
  for (const auto& [width, loss] :
       {std::pair{10, 3.0}, {20, 2.0}, {30, 2.5}, {40, 1.0}, {50, 1.5}}) {
    records.push_back(test::record(model, data, {width}, loss, 100 - width));
  }
  store.add(run, records);
  const auto widths = [&](const FrontQuery& query) {
    std::vector<Width> found;
    for (const Record& record : store.front(query)) {
      EXPECT_EQ(record.cost.latency, 100'000 + 1000 * record.widths[0]);
      found.push_back(record.widths[0]);
    }
    return found;
  };
  FrontQuery query;
  query.latency = &table;
  query.cost = CostKind::kLatency;
  EXPECT_EQ(widths(query), (std::vector<Width>{10, 20, 40}));
  query.max_cost = 139'999;
  EXPECT_EQ(widths(query), (std::vector<Width>{10, 20}));
  query.max_cost.reset();
  query.min_cost = 120'001;
  EXPECT_EQ(widths(query), (std::vector<Width>{30, 40}));
  query.min_cost.reset();
  query.budgets = {{CostKind::kLatency, 130'000}};
  EXPECT_EQ(widths(query), (std::vector<Width>{10, 20}));
  query.runs = {run};
  query.all = true;
  EXPECT_EQ(widths(query), (std::vector<Width>{10, 20, 30}));
  query.all = false;
  query.cost = CostKind::kParams;  // the other way round: wider ones have fewer here
  EXPECT_EQ(widths(query), (std::vector<Width>{30, 20}));
  query.runs.clear();
  query.budgets.clear();
  EXPECT_EQ(widths(query), (std::vector<Width>{50, 40}));

  query.cost = CostKind::kLatency;
  query.latency = nullptr;
  EXPECT_NE(test::error_of([&] { store.front(query); }), "");
  const LatencyTable narrow({{kFixedPart, 0, {1e-4, 0}}, {0, 30, {1e-6, 0}}, {0, 50, {5e-5, 0}}});
  query.latency = &narrow;
  EXPECT_NE(test::error_of([&] { store.front(query); }).find("from 30 to 50"), std::string::npos);
}

TEST(StoredLatency, StoresOfVersion2AreReadAndBroughtUpToDate) {
  const test::TempDir directory;
  const auto path = directory / "old.db";
  Store::open(path, Store::Mode::kWrite).model(test::model_row());
  // What version 2 was: the same without the tables that came later.
  test::query(path,
              "DROP TABLE latency_check; DROP TABLE latency_part; DROP TABLE latency; "
              "PRAGMA user_version = 2; PRAGMA journal_mode = DELETE");
  {
    const Store store = Store::open(path, Store::Mode::kRead);
    EXPECT_EQ(store.models().size(), 1u);
    EXPECT_TRUE(store.latencies(1).empty());
  }
  EXPECT_EQ(test::query(path, "PRAGMA user_version")[0][0], "2");  // reading changes nothing
  {
    Store store = Store::open(path, Store::Mode::kWrite);
    EXPECT_EQ(store.models().size(), 1u);
    EXPECT_EQ(store.add_latency(row(1)), 1);
    EXPECT_EQ(store.latencies(1).size(), 1u);
  }
  EXPECT_EQ(test::query(path, "PRAGMA user_version")[0][0], "3");
  EXPECT_EQ(Store::open(path, Store::Mode::kRead).latencies(1).size(), 1u);
}

}  // namespace
}  // namespace mnm
