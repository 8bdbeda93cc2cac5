// Measured times in the store, and stores from before there were any.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "db/store.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/models.h"
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

// By which vectors would be indexed, or passes counted.
TEST(StoredLatency, NumbersThatNoMeasurementHasAreNamed) {
  struct Case {
    const char* change;
    const char* phrase;
  };
  const Case cases[] = {
      {"UPDATE latency_part SET layer = -2 WHERE width = 64", "of layer -2 at width 64"},
      {"UPDATE latency_part SET layer = 1000000000 WHERE width = 64", "of layer 1000000000 at"},
      {"UPDATE latency_part SET layer = 4294967296 WHERE width = 64", "of layer 4294967296 at"},
      {"UPDATE latency_part SET width = -64 WHERE width = 64", "of layer 0 at width -64"},
      {"UPDATE latency_part SET width = 4294967360 WHERE width = 64", "at width 4294967360"},
      {"UPDATE latency SET batch = 0", "has 0 sequences"},
      {"UPDATE latency SET batch = 1000000000000", "has 1000000000000 sequences"},
      {"UPDATE latency SET length = 1000000000000", "has 1000000000000 tokens"},
      {"UPDATE latency SET repeats = -1", "has -1 repeats"},
  };
  for (const auto& [change, phrase] : cases) {
    const test::TempDir directory;
    const auto path = directory / "results.db";
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t model = store.model(test::model_row());
    const std::int64_t run = store.begin_run(test::run_row(model, store.data(test::data_row())));
    ASSERT_EQ(store.add_latency(row(model)), 1);
    test::query(path, std::string("PRAGMA ignore_check_constraints = ON; ") + change);
    const std::string error = test::error_of([&] { store.latencies(model); });
    EXPECT_TRUE(test::contains(error, path.string() + " is damaged: its latency 1 has ")) << error;
    EXPECT_TRUE(test::contains(error, phrase)) << error;
    if (!test::contains(change, "latency_part")) continue;
    // Whoever adds a record puts it on the fronts of the measurement.
    EXPECT_EQ(test::error_of([&] { store.add(run, std::vector{test::score({64}, 1, 5)}); }), error);
  }
}

TEST(StoredLatency, SubmodelsThatWereMeasuredWholeComeBack) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  {
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t model = store.model(test::model_row());
    const std::int64_t run = store.begin_run(test::run_row(model, store.data(test::data_row("d"))));
    ASSERT_EQ(store.add_latency(row(model)), 1);
    ASSERT_EQ(store.add_latency(row(model)), 2);
    std::vector<WholeLatencyRow> rows(3);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i].latency = i < 2 ? 2 : 1;
      rows[i].run = run;
      rows[i].measured = {{64}, 0.5, {0.25 * static_cast<double>(i + 1), 0.125}};
      rows[i].repeats = 7;
    }
    store.add_whole_latencies(rows);
    rows[0].run = 99;  // there is none
    EXPECT_NE(test::error_of([&] { store.add_whole_latencies(rows); }), "");
  }
  const Store store = Store::open(path, Store::Mode::kRead);
  const std::vector<WholeLatencyRow> found = store.whole_latencies(2);
  ASSERT_EQ(found.size(), 2u);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].latency, 2);
    EXPECT_EQ(found[i].run, 1);
    EXPECT_EQ(found[i].measured.widths, Widths{64});
    EXPECT_EQ(found[i].measured.predicted, 0.5);
    EXPECT_EQ(found[i].measured.seconds.median, 0.25 * static_cast<double>(i + 1));
    EXPECT_EQ(found[i].measured.seconds.spread, 0.125);
    EXPECT_EQ(found[i].repeats, 7);
    EXPECT_EQ(found[i].created.size(), 20u);
  }
  EXPECT_EQ(store.whole_latencies(1).size(), 1u);
  EXPECT_EQ(store.latencies(1).back().measured.checks.size(), 1u) << "its own checks stay apart";
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
  std::vector<Score> records;
  for (const auto& [width, loss] :
       {std::pair{10, 3.0}, {20, 2.0}, {30, 2.5}, {40, 1.0}, {50, 1.5}}) {
    records.push_back(test::score({width}, loss, 100 - width));
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

// So is memory, which a record does not keep: it depends on the sequences that are asked about.
TEST(StoredMemory, FrontsAreTakenByIt) {
  const test::TempDir directory;
  Store store = Store::open(directory / "results.db", Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t data = store.data(test::data_row());
  const std::int64_t run = store.begin_run(test::run_row(model, data));
  std::vector<Score> records;
  for (const auto& [width, loss] : {std::pair{4, 3.0}, {8, 2.0}, {16, 2.5}}) {
    records.push_back(test::score({width}, loss, 100 - width));
  }
  store.add(run, records);
  const NestedModel described = test::prefix_model(1, 8, {4, 8, 16});
  FrontQuery query;
  query.cost = CostKind::kMemory;
  EXPECT_NE(test::error_of([&] { store.front(query); }), "") << "there is nothing to count it by";
  std::int64_t before = 0;
  for (const CacheLoad& cache : {CacheLoad{100, 1}, CacheLoad{100, 2}}) {
    const CostTable costs(described, {Dtype::kF32, 10, cache});
    query.memory = &costs;
    const std::vector<Record> front = store.front(query);
    ASSERT_EQ(front.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(front[i].widths, Widths{i == 0 ? 4 : 8});
      EXPECT_EQ(front[i].cost.memory, costs.of(front[i].widths).memory);
    }
    EXPECT_GT(front[0].cost.memory, before);
    before = front[0].cost.memory;
    FrontQuery within = query;
    within.cost = CostKind::kParams;
    within.budgets = {{CostKind::kMemory, front[0].cost.memory}};
    ASSERT_EQ(store.front(within).size(), 1u);
    EXPECT_EQ(store.front(within)[0].widths, Widths{4});
  }
  const NestedModel longer = test::prefix_model(2, 8, {4});
  const CostTable other(longer, {});
  query.memory = &other;
  EXPECT_NE(test::error_of([&] { store.front(query); }).find("and the model has 2"),
            std::string::npos);
}

// One layer, whose width w takes (w + `more`) us beside 100 us, but for widths 5 and 6, of which
// noise made the wider one the faster: both count as their mean.
LatencyRow linear(std::int64_t model, double more, std::int64_t length) {
  LatencyRow latency = row(model);
  latency.measured.workload.length = length;
  latency.measured.parts = {{kFixedPart, 0, {1e-4, 0}}};
  for (const Width width : {1, 5, 6, 60}) {
    const double noise = width == 5 ? 2e-6 : width == 6 ? -2e-6 : 0;
    latency.measured.parts.push_back({0, width, {1e-6 * (width + more) + noise, 0}});
  }
  return latency;
}

using Rows = std::vector<std::vector<std::string>>;

// Measured before, between and after the records were taken.
TEST(StoredLatency, TheViewSaysWhatFrontsSay) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  std::mt19937 random(3);
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  std::vector<LatencyRow> latencies;
  {
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t models[] = {store.model(test::model_row("a")),
                                   store.model(test::model_row("b"))};
    const std::int64_t datasets[] = {store.data(test::data_row("x")),
                                     store.data(test::data_row("y"))};
    const auto measure = [&](std::size_t model, double more, std::int64_t length) {
      LatencyRow& latency = latencies.emplace_back(linear(models[model], more, length));
      latency.id = store.add_latency(latency);
    };
    measure(0, 0, 10);
    measure(1, 3, 10);
    for (int batch = 0; batch < 12; ++batch) {
      std::vector<Score> records(static_cast<std::size_t>(below(30)));
      RunRow row = test::run_row(models[below(2)], datasets[below(2)]);
      row.dtype = below(3) == 0 ? Dtype::kBF16 : Dtype::kF32;
      const std::int64_t run = store.begin_run(row);
      for (Score& r : records) {
        const auto width = static_cast<Width>(1 + below(60));
        double loss = below(40) / 8.0;
        if (below(12) == 0) loss = std::numeric_limits<double>::quiet_NaN();
        r = test::score({width}, loss, width % 40);
        if (below(2) == 0) r.metrics[Metric::kKl] = Measured{below(20) / 4.0, 0.5};
        if (below(2) == 0) r.metrics[Metric::kAgreement] = Measured{below(9) / 8.0, 0.5};
      }
      store.add(run, records);
      store.finish_run(run, "done");
      if (batch == 5) measure(0, 7, 20);
    }
    measure(1, 1, 30);
    measure(0, 9, 10);  // in the place of the first
  }
  const Store store = Store::open(path, Store::Mode::kRead);
  for (const LatencyRow& latency : latencies) {
    const LatencyTable table(latency.measured.parts);
    for (const Metric metric : {Metric::kLoss, Metric::kKl, Metric::kAgreement}) {
      FrontQuery query;
      query.metric = metric;
      query.cost = CostKind::kLatency;
      query.latency = &table;
      query.model = latency.model;
      Rows expected;
      for (const Record& record : store.front(query)) {
        expected.push_back({std::to_string(record.id), std::to_string(record.cost.latency)});
      }
      ASSERT_GT(expected.size(), 4u);
      if (&latency == &latencies.front()) expected.clear();
      EXPECT_EQ(test::query(path, fmt::format("SELECT record, cost FROM pareto WHERE latency = {} "
                                              "AND cost_kind = 'latency' AND metric = '{}'",
                                              latency.id, to_string(metric))),
                expected)
          << latency.id << " " << to_string(metric);
    }
  }
}

TEST(StoredLatency, WhatWasNotMeasuredIsOnNoFrontAndRecordedAllTheSame) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  Store store = Store::open(path, Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t data = store.data(test::data_row());
  const auto record = [&](const Widths& widths) {
    const std::int64_t run = store.begin_run(test::run_row(model, data));
    const std::int64_t id = store.add(run, std::vector{test::score(widths, 1, 5)}).front().id;
    store.finish_run(run, "done");
    return id;
  };
  for (const Widths& outside : {Widths{61}, Widths{5, 5}}) EXPECT_GT(record(outside), 0);
  store.add_latency(linear(model, 0, 10));
  const std::string inside = std::to_string(record({60}));
  for (const Widths& outside : {Widths{62}, Widths{7, 5}}) EXPECT_GT(record(outside), 0);
  EXPECT_EQ(test::query(path, "SELECT record, cost FROM pareto WHERE cost_kind = 'latency'"),
            (Rows{{inside, "160000"}}));
}

}  // namespace
}  // namespace mnm
