// Fronts, by three routes: Store::front, the view `pareto`, and comparing every pair.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

#include "db/staircase.h"
#include "db/store.h"
#include "tests/db/stores.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

constexpr Metric kTried[] = {Metric::kLoss, Metric::kKl, Metric::kAgreement, Metric::kAcceptance};

std::optional<double> objective(const Record& record, Metric metric) {
  if (!record.ok(metric)) return std::nullopt;
  const double value = record.metrics[metric]->value;
  return metric == Metric::kLoss || metric == Metric::kKl ? value : -value;
}

bool passes(const Record& record, const FrontQuery& query,
            const std::map<std::int64_t, std::set<std::int64_t>>& asked) {
  const std::int64_t cost = record.cost.of(query.cost);
  bool in_runs = query.runs.empty();
  for (const std::int64_t run : query.runs) {
    in_runs = in_runs || (asked.contains(run) && asked.at(run).contains(record.id));
  }
  bool within = true;
  for (const auto& [kind, limit] : query.budgets) within = within && record.cost.of(kind) <= limit;
  return in_runs && within && (query.all || objective(record, query.metric)) &&
         (!query.model || record.model == *query.model) &&
         (!query.data || record.data == *query.data) &&
         (!query.dtype || record.dtype == *query.dtype) &&
         (!query.min_cost || cost >= *query.min_cost) &&
         (!query.max_cost || cost <= *query.max_cost);
}

// The ids that Store::front promises, in its order.
std::vector<std::int64_t> brute_force(const std::vector<Record>& records, const FrontQuery& query,
                                      const std::map<std::int64_t, std::set<std::int64_t>>& asked) {
  std::vector<Record> chosen;
  for (const Record& record : records) {
    if (passes(record, query, asked)) chosen.push_back(record);
  }
  const auto beats = [&](const Record& a, const Record& b) {
    if (query.all) return false;
    if (std::tie(a.model, a.data, a.dtype) != std::tie(b.model, b.data, b.dtype)) return false;
    const std::int64_t cost_a = a.cost.of(query.cost), cost_b = b.cost.of(query.cost);
    const double value_a = *objective(a, query.metric), value_b = *objective(b, query.metric);
    if (cost_a > cost_b || value_a > value_b) return false;
    return cost_a < cost_b || value_a < value_b || a.id < b.id;
  };
  std::vector<Record> front;
  for (const Record& b : chosen) {
    bool beaten = false;
    for (const Record& a : chosen) beaten = beaten || beats(a, b);
    if (!beaten) front.push_back(b);
  }
  std::sort(front.begin(), front.end(), [&](const Record& a, const Record& b) {
    return std::tuple(a.model, a.data, to_string(a.dtype), a.cost.of(query.cost), a.id) <
           std::tuple(b.model, b.data, to_string(b.dtype), b.cost.of(query.cost), b.id);
  });
  std::vector<std::int64_t> ids;
  for (const Record& record : front) ids.push_back(record.id);
  return ids;
}

std::vector<std::int64_t> ids_of(const std::vector<Record>& records) {
  std::vector<std::int64_t> ids;
  for (const Record& record : records) ids.push_back(record.id);
  return ids;
}

TEST(Front, ThreeRoutesAgreeOnRandomRecords) {
  const test::TempDir directory;
  for (const std::uint32_t seed : {1u, 2u, 3u, 4u}) {
    const auto path = directory / ("results" + std::to_string(seed) + ".db");
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    std::optional<Store> store = Store::open(path, Store::Mode::kWrite);
    std::vector<std::int64_t> models, datasets, runs;
    for (const char* name : {"a", "b"}) models.push_back(store->model(test::model_row(name)));
    for (const char* name : {"search", "confirm"}) {
      datasets.push_back(store->data(test::data_row(name)));
    }
    for (std::size_t i = 0; i < 10; ++i) {
      RunRow row = test::run_row(models[i % 2], datasets[i / 2 % 2]);
      row.dtype = i % 5 == 0 ? Dtype::kBF16 : Dtype::kF32;
      runs.push_back(store->begin_run(row));
    }

    std::map<std::int64_t, std::set<std::int64_t>> asked;
    std::map<std::int64_t, Record> by_id;
    for (int batch = 0; batch < 40; ++batch) {
      const std::int64_t run = runs[below(10)];
      std::vector<Score> scores(below(30));
      for (Score& r : scores) {
        const auto width = static_cast<Width>(1 + below(200));
        // Few values and few costs, so that there are ties of every sort.
        double loss = below(40) / 8.0;
        if (below(12) == 0) loss = std::numeric_limits<double>::quiet_NaN();
        if (below(12) == 0) loss = std::numeric_limits<double>::infinity();
        r = test::score({width}, loss, width % 40);
        if (below(2) == 0) r.metrics[Metric::kKl] = Measured{below(20) / 4.0 - 1, 0.5};
        if (below(2) == 0) r.metrics[Metric::kAgreement] = Measured{below(9) / 8.0, 0.5};
        if (below(4) == 0) r.metrics[Metric::kAcceptance] = Measured{loss / 5, 0.5};
      }
      for (const Record& r : store->add(run, scores)) {
        asked[run].insert(r.id);
        by_id[r.id] = *store->record(r.id);
      }
      if (below(5) == 0) {
        store.reset();
        store = Store::open(path, Store::Mode::kWrite);
      }
    }
    std::vector<Record> records;
    for (const auto& [id, record] : by_id) records.push_back(record);
    ASSERT_GT(records.size(), 300u);

    for (const Metric metric : kTried) {
      for (const CostKind kind : kExactCosts) {
        FrontQuery query;
        query.metric = metric;
        query.cost = kind;
        const std::vector<std::int64_t> expected = brute_force(records, query, asked);
        EXPECT_EQ(ids_of(store->front(query)), expected)
            << to_string(metric) << " " << to_string(kind);
        std::vector<std::int64_t> viewed;
        for (const auto& row :
             test::query(path, "SELECT record FROM pareto WHERE metric = '" +
                                   std::string(to_string(metric)) + "' AND cost_kind = '" +
                                   std::string(to_string(kind)) + "'")) {
          viewed.push_back(std::stoll(row[0]));
        }
        EXPECT_EQ(viewed, expected) << to_string(metric) << " " << to_string(kind);
      }
    }
    EXPECT_EQ(test::cell(path, "SELECT count(*) FROM member"),
              test::cell(path, "SELECT count(*) FROM pareto"));

    int computed = 0;
    for (int i = 0; i < 300; ++i) {
      FrontQuery query;
      query.metric = kTried[below(4)];
      query.cost = kExactCosts[below(4)];
      if (below(3) == 0) query.model = models[below(2)];
      if (below(3) == 0) query.data = datasets[below(2)];
      if (below(4) == 0) query.dtype = std::array{Dtype::kF32, Dtype::kBF16, Dtype::kF16}[below(3)];
      while (below(3) == 0) query.runs.push_back(runs[below(10)]);
      const auto a_cost = [&](CostKind kind) {
        return records[below(static_cast<std::uint32_t>(records.size()))].cost.of(kind);
      };
      if (below(4) == 0) query.min_cost = a_cost(query.cost);
      if (below(4) == 0) query.max_cost = a_cost(query.cost);
      while (below(3) == 0) {
        const CostKind kind = kExactCosts[below(4)];
        query.budgets.push_back({kind, a_cost(kind)});
      }
      query.all = below(4) == 0;
      EXPECT_EQ(ids_of(store->front(query)), brute_force(records, query, asked))
          << to_string(query.metric) << " by " << to_string(query.cost) << ", " << query.runs.size()
          << " runs, " << query.budgets.size() << " budgets, all " << query.all << ", cost from "
          << query.min_cost.value_or(-1) << " to " << query.max_cost.value_or(-1);
      computed += !query.runs.empty();
    }
    EXPECT_GT(computed, 50);
  }
}

TEST(Front, ViewReadsForPeople) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  {
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t model = store.model(test::model_row());
    const std::int64_t data = store.data(test::data_row());
    std::vector<Score> records = {test::score({64, 64, 128}, 1.5, 10),
                                  test::score({128, kSkip, 128}, 0.5, 30),
                                  test::score({128, 64, 64}, 1.75, 20)};
    records[1].metrics[Metric::kAgreement] = Measured{0.75, 0.125};
    store.add(store.begin_run(test::run_row(model, data)), records);
  }
  using Rows = std::vector<std::vector<std::string>>;
  // Also where the shell or the library trusts no schema.
  EXPECT_EQ(
      test::query(path,
                  "PRAGMA trusted_schema = OFF; SELECT model, data, part, context, dtype, metric, "
                  "widths, cost, value, standard_error, round(perplexity, 3), record "
                  "FROM pareto WHERE cost_kind = 'params'"),
      (Rows{{"model", "data", "search", "256", "f32", "agreement", "128,-,128", "30", "0.75",
             "0.125", "1.649", "2"},
            {"model", "data", "search", "256", "f32", "loss", "64x2,128", "10", "1.5", "0.25",
             "4.482", "1"},
            {"model", "data", "search", "256", "f32", "loss", "128,-,128", "30", "0.5", "0.25",
             "1.649", "2"}}));
}

TEST(Front, OfEqualsTheFirstRecordedStaysThoughMeasuredLast) {
  const test::TempDir directory;
  Store store = Store::open(directory / "results.db", Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t data = store.data(test::data_row());
  const std::int64_t run = store.begin_run(test::run_row(model, data));
  std::vector<Score> scores = {test::score({1}, 1, 10), test::score({2}, 1, 10),
                               test::score({3}, 1, 11)};
  scores[1].metrics[Metric::kKl] = Measured{0.5, 0};
  const std::vector<Record> records = store.add(run, scores);
  FrontQuery query;
  query.metric = Metric::kKl;
  EXPECT_EQ(ids_of(store.front(query)), std::vector{records[1].id});
  scores[0].metrics[Metric::kKl] = Measured{0.5, 0};
  store.add(run, std::span(scores).first(1));
  EXPECT_EQ(ids_of(store.front(query)), std::vector{records[0].id});
  EXPECT_EQ(ids_of(store.front({})), std::vector{records[0].id});
}

TEST(Front, OfNothingIsEmpty) {
  const test::TempDir directory;
  Store store = Store::open(directory / "results.db", Store::Mode::kWrite);
  FrontQuery query;
  EXPECT_TRUE(store.front(query).empty());
  query.all = true;
  EXPECT_TRUE(store.front(query).empty());
  query.runs = {7};
  EXPECT_TRUE(store.front(query).empty());
}

TEST(Staircase, SaysWhoWasBeaten) {
  Staircase stairs;
  EXPECT_FALSE(stairs.offer(10, 5, 1)->beaten);
  EXPECT_FALSE(stairs.offer(20, 4, 2)->beaten);
  EXPECT_FALSE(stairs.offer(30, 3, 3)->beaten);
  EXPECT_FALSE(stairs.offer(20, 5, 4));
  EXPECT_FALSE(stairs.offer(20, 4, 5));
  EXPECT_FALSE(stairs.offer(25, 4, 0)) << "costs more for the same";
  EXPECT_EQ(stairs.offer(15, 3, 6)->beaten, std::pair(std::int64_t{20}, std::int64_t{30}));
  EXPECT_EQ(stairs.offer(10, 5, 0)->beaten, std::pair(std::int64_t{10}, std::int64_t{10}));
  EXPECT_EQ(stairs.members().size(), 2u);
}

}  // namespace
}  // namespace mnm
