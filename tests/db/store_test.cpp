#include "db/store.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "tests/db/stores.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

void expect_same(const std::optional<Measured>& a, const std::optional<Measured>& b) {
  ASSERT_EQ(a.has_value(), b.has_value());
  if (!a) return;
  EXPECT_EQ(a->value, b->value);
  EXPECT_EQ(a->standard_error, b->standard_error);
}

// NaN and -0 too.
void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i]));
  }
}

// All but the values per example, which only Store::per_example reads.
void expect_same(const Record& a, const Record& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.data, b.data);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.widths, b.widths);
  EXPECT_EQ(a.samples, b.samples);
  for (const MetricRow& row : metric_table()) {
    EXPECT_EQ(a.status(row.metric), b.status(row.metric)) << row.name;
    if (a.ok(row.metric)) expect_same(a[row.metric], b[row.metric]);
  }
  for (const CostKind kind : kExactCosts) EXPECT_EQ(a.cost.of(kind), b.cost.of(kind));
  EXPECT_EQ(a.cost.kv_bytes, b.cost.kv_bytes);
  EXPECT_EQ(a.cost.state_bytes, b.cost.state_bytes);
}

// What the store promises, as maps.
struct Mirror {
  using Key = std::tuple<std::int64_t, std::int64_t, Dtype, std::string>;
  struct Run {
    RunRow row;
    std::vector<Key> asked{};
  };
  std::map<Key, Record> records;
  std::map<std::int64_t, Run> runs;

  // The record as it must be stored, under the id that its first adding gave it.
  const Record& add(std::int64_t run, const Score& added, std::int64_t id) {
    Run& of = runs.at(run);
    const Key key = {of.row.model, of.row.data, of.row.dtype, to_string(added.widths)};
    const auto [known, is_new] = records.try_emplace(key, Record{added});
    Record& record = known->second;
    if (is_new) {
      record.id = id;
      std::tie(record.model, record.data, record.dtype, std::ignore) = key;
    }
    for (const MetricRow& row : metric_table()) {
      if (!record[row.metric]) record.metrics[row.metric] = added[row.metric];
      std::vector<float>& values = record.per_example[row.metric];
      if (values.empty()) values = added.per_example[row.metric];
    }
    of.asked.push_back(key);
    return record;
  }

  void expect_equals(const Store& store) const {
    for (const auto& [key, record] : records) {
      const auto found = store.find(record.model, record.data, record.dtype, record.widths);
      ASSERT_TRUE(found);
      expect_same(*found, record);
      const auto by_id = store.record(record.id);
      ASSERT_TRUE(by_id);
      expect_same(*by_id, record);
      for (const MetricRow& row : metric_table()) {
        expect_same_bits(store.per_example(record.id, row.metric), record.per_example[row.metric]);
      }
    }
    const std::vector<RunRow> rows = store.runs();
    ASSERT_EQ(rows.size(), runs.size());
    for (const RunRow& row : rows) {
      const Run& run = runs.at(row.id);
      EXPECT_EQ(row.seed, run.row.seed);
      EXPECT_EQ(row.status, run.row.status);
      EXPECT_EQ(row.dtype, run.row.dtype);
      EXPECT_EQ(row.settings, run.row.settings);
      EXPECT_EQ(row.session, run.row.session == 0 ? row.id : run.row.session);
      EXPECT_EQ(row.owner.empty(), row.status != "running");
      EXPECT_EQ(row.records, static_cast<std::int64_t>(run.asked.size()));
      const std::vector<Record> asked = store.records_of(row.id);
      ASSERT_EQ(asked.size(), run.asked.size());
      for (std::size_t i = 0; i < asked.size(); ++i) {
        expect_same(asked[i], records.at(run.asked[i]));
      }
    }
  }
};

TEST(Store, AgreesWithAMapOverRandomOperationsAndReopening) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  for (const std::uint32_t seed : {1u, 2u, 3u}) {
    std::filesystem::remove(path);
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    std::optional<Store> store = Store::open(path, Store::Mode::kWrite);
    Mirror mirror;
    std::int64_t models[2], datasets[2];
    for (const int i : {0, 1}) {
      models[i] = store->model(test::model_row("model" + std::to_string(i)));
      datasets[i] = store->data(test::data_row("data" + std::to_string(i)));
    }
    for (int step = 0; step < 120; ++step) {
      switch (below(6)) {
        case 0: {
          RunRow row = test::run_row(models[below(2)], datasets[below(2)]);
          row.seed = random() * (std::uint64_t{1} << 32) + random();
          row.dtype = below(2) == 0 ? Dtype::kF32 : Dtype::kBF16;
          if (!mirror.runs.empty() && below(3) == 0) row.session = mirror.runs.begin()->first;
          const std::int64_t id = store->begin_run(row);
          row.status = "running";
          ASSERT_TRUE(mirror.runs.emplace(id, Mirror::Run{row, {}}).second);
          break;
        }
        case 1:
          store.reset();
          store = Store::open(path, Store::Mode::kWrite);
          break;
        case 2: {
          if (mirror.runs.empty()) break;
          auto& [id, run] = *std::next(mirror.runs.begin(),
                                       below(static_cast<std::uint32_t>(mirror.runs.size())));
          if (run.row.status == "running") {
            run.row.status = below(2) == 0 ? "done" : "stopped";
            store->finish_run(id, run.row.status);
          } else if (run.row.status == "stopped") {
            run.row.status = "running";
            store->resume_run(id);
          } else {
            EXPECT_THROW(store->resume_run(id), Error);
            EXPECT_THROW(store->finish_run(id, "stopped"), Error);
          }
          break;
        }
        default: {
          if (mirror.runs.empty()) break;
          auto& [id, run] = *std::next(mirror.runs.begin(),
                                       below(static_cast<std::uint32_t>(mirror.runs.size())));
          std::vector<Score> batch(below(20));
          for (Score& r : batch) {
            const Widths widths = {static_cast<Width>(below(4)), static_cast<Width>(1 + below(4)),
                                   7};
            const double losses[] = {1.25, 2 + below(100) / 64.0, kNaN, kInf, -kInf};
            r = test::score(widths, losses[below(5)], widths[0] * 10 + widths[1]);
            for (const Metric metric : {Metric::kKl, Metric::kAgreement, Metric::kAcceptance}) {
              if (below(3) != 0) continue;
              r.metrics[metric] = Measured{losses[below(5)], 0.125};
              if (below(2) == 0) {
                r.per_example[metric] = {static_cast<float>(below(9)), -0.0f, 1, 2};
              }
            }
            if (below(4) == 0) r.per_example[Metric::kLoss].clear();
          }
          if (run.row.status != "running") {
            EXPECT_THROW(store->add(id, batch), Error);
            break;
          }
          const std::vector<Record> stored = store->add(id, batch);
          ASSERT_EQ(stored.size(), batch.size());
          for (std::size_t i = 0; i < batch.size(); ++i) {
            expect_same(stored[i], mirror.add(id, batch[i], stored[i].id));
          }
        }
      }
    }
    mirror.expect_equals(*store);
    store.reset();
    mirror.expect_equals(Store::open(path, Store::Mode::kRead));
    EXPECT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
    EXPECT_EQ(test::query(path, "PRAGMA foreign_key_check").size(), 0u);
  }
}

class OneStore : public testing::Test {
 protected:
  test::TempDir directory_;
  std::filesystem::path path_ = directory_ / "results.db";
  Store store_ = Store::open(path_, Store::Mode::kWrite);
  std::int64_t model_ = store_.model(test::model_row());
  std::int64_t data_ = store_.data(test::data_row());
  std::int64_t run_ = store_.begin_run(test::run_row(model_, data_));

  Record add(const Score& score) { return store_.add(run_, {&score, 1}).front(); }
};

TEST_F(OneStore, RowsComeBackAsTheyWereGiven) {
  const ModelRow given = {"f\x01'\"", "näme; DROP TABLE model", "llama", std::string("{\0}", 3),
                          ""};
  const std::int64_t id = store_.model(given);
  EXPECT_EQ(store_.model(given), id);
  const auto models = store_.models();
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[1].first, id);
  const ModelRow& model = models[1].second;
  EXPECT_EQ(model.fingerprint, given.fingerprint);
  EXPECT_EQ(model.name, given.name);
  EXPECT_EQ(model.family, given.family);
  EXPECT_EQ(model.config, given.config);
  EXPECT_EQ(model.granularities, given.granularities);

  const auto datasets = store_.datasets();
  ASSERT_EQ(datasets.size(), 1u);
  const DataRow& data = datasets[0].second;
  EXPECT_EQ(data.name, "data");
  EXPECT_EQ(data.context, 256);
  EXPECT_EQ(data.sequences, 4);

  const auto run = store_.run(run_);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->seed, 0xfedcba9876543210);
  EXPECT_EQ(run->command, "search");
  EXPECT_EQ(run->strategy, "grid");
  EXPECT_EQ(run->command_line, "mixnmatch search");
  EXPECT_EQ(run->build, "build");
  EXPECT_EQ(run->device, "cpu");
  EXPECT_EQ(run->started.size(), std::string("2025-01-31T12:00:00Z").size());
  EXPECT_FALSE(store_.run(run_ + 1));
  EXPECT_FALSE(store_.record(1));
  EXPECT_FALSE(store_.find(model_, data_, Dtype::kF32, {1}));
  EXPECT_TRUE(store_.per_example(1, Metric::kLoss).empty());

  const Record known = add(test::score({4}, 1, 1));
  Store::Artifact artifact;
  artifact.model = model_;
  artifact.record = known.id;
  artifact.widths = {4, kSkip, 4};
  artifact.format = "huggingface";
  artifact.path = "/tmp/x";
  artifact.fingerprint = "ff";
  artifact.check = "{}";
  artifact.command_line = "export";
  artifact.bytes = std::int64_t{1} << 40;
  const std::int64_t first = store_.add_artifact(artifact);
  artifact.record.reset();
  artifact.created = "2025-01-31T12:00:00Z";
  const std::int64_t second = store_.add_artifact(artifact);
  const auto artifacts = store_.artifacts();
  ASSERT_EQ(artifacts.size(), 2u);
  EXPECT_EQ(artifacts[0].id, first);
  EXPECT_EQ(artifacts[0].record, known.id);
  EXPECT_EQ(artifacts[0].created.size(), artifact.created.size());
  EXPECT_EQ(artifacts[1].id, second);
  EXPECT_FALSE(artifacts[1].record);
  EXPECT_EQ(artifacts[1].widths, artifact.widths);
  EXPECT_EQ(artifacts[1].format, artifact.format);
  EXPECT_EQ(artifacts[1].path, artifact.path);
  EXPECT_EQ(artifacts[1].fingerprint, artifact.fingerprint);
  EXPECT_EQ(artifacts[1].check, artifact.check);
  EXPECT_EQ(artifacts[1].command_line, artifact.command_line);
  EXPECT_EQ(artifacts[1].created, artifact.created);
  EXPECT_EQ(artifacts[1].bytes, artifact.bytes);
}

TEST_F(OneStore, WhatRuntimesSaidOfAnArtifactIsRead) {
  Store::Artifact artifact;
  artifact.model = model_;
  artifact.widths = {4};
  artifact.check = "{}";
  const std::int64_t id = store_.add_artifact(artifact);
  EXPECT_TRUE(store_.verifications().empty());
  // As scripts/verify adds them.
  const std::string insert =
      "PRAGMA foreign_keys = ON; INSERT INTO verification (artifact, runtime, version, worst, "
      "tolerance, agrees, machine, created) VALUES ";
  test::query(path_, insert + "(1, 'llama.cpp', '0.3.36', 0.25, 0.5, 1, 'x86_64', 'now')");
  test::query(path_, insert + "(1, 'llama.cpp', '', NULL, 0.5, 0, '', 'later')");
  for (const char* wrong :
       {"(1, 'r', '', 0.75, 0.5, 1, '', '')", "(1, 'r', '', 0.25, 0.5, 0, '', '')",
        "(1, 'r', '', NULL, 0.5, 1, '', '')", "(9, 'r', '', 0.1, 0.5, 1, '', '')",
        "(1, '', '', 0.1, 0.5, 1, '', '')", "(1, 'r', '', -1, 0.5, 1, '', '')"}) {
    EXPECT_THROW(test::query(path_, insert + wrong), std::runtime_error) << wrong;
  }
  const auto found = store_.verifications();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].artifact, id);
  EXPECT_EQ(found[0].runtime, "llama.cpp");
  EXPECT_EQ(found[0].version, "0.3.36");
  EXPECT_EQ(found[0].worst, 0.25);
  EXPECT_EQ(found[0].tolerance, 0.5);
  EXPECT_TRUE(found[0].agrees);
  EXPECT_EQ(found[0].machine, "x86_64");
  EXPECT_EQ(found[0].created, "now");
  EXPECT_FALSE(found[1].worst);
  EXPECT_FALSE(found[1].agrees);
}

TEST_F(OneStore, WhatIsNotANumberIsAStatus) {
  const struct {
    double loss;
    const char* status;
  } cases[] = {{kNaN, "nan"}, {-kNaN, "nan"}, {kInf, "inf"}, {-kInf, "inf"}, {0, "ok"}};
  Width width = 0;
  for (const auto& c : cases) {
    Score given = test::score({++width}, c.loss, width);
    given.per_example[Metric::kLoss].assign(4, static_cast<float>(c.loss));
    const Record added = add(given);
    EXPECT_EQ(added.status(), c.status);
    const auto found = store_.record(added.id);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->status(), c.status);
    EXPECT_EQ(std::isfinite(found->value()), found->ok());
    const std::vector<float> kept = store_.per_example(added.id, Metric::kLoss);
    ASSERT_EQ(kept.size(), 4u);
    EXPECT_EQ(std::isfinite(kept[0]), found->ok());
  }
  Score given = test::score({++width}, 1, width);
  given.metrics[Metric::kKl] = Measured{kInf, kNaN};
  given.metrics[Metric::kAgreement] = Measured{0.5, kNaN};
  const auto found = store_.record(add(given).id);
  EXPECT_TRUE(found->ok());
  EXPECT_EQ(found->status(Metric::kKl), "inf");
  EXPECT_EQ(found->status(Metric::kAcceptance), "");
  ASSERT_TRUE(found->ok(Metric::kAgreement));
  EXPECT_TRUE(std::isnan(found->metrics[Metric::kAgreement]->standard_error));
  given = test::score({++width}, 1, width);
  given.metrics[Metric::kLoss]->standard_error = kNaN;  // of one example
  EXPECT_TRUE(std::isnan(store_.record(add(given).id)->metrics[Metric::kLoss]->standard_error));
  EXPECT_EQ(test::cell(path_,
                       "SELECT count(*) FROM score WHERE metric = 'loss' AND status = 'ok' "
                       "AND standard_error IS NULL"),
            "1");
}

TEST_F(OneStore, AKnownRecordStaysAndGainsOnlyWhatItLacked) {
  const Score given = test::score({4, 4}, 1.5, 10);
  const Record first = add(given);
  Score again = test::score({4, 4}, 1.75, 10);
  again.metrics[Metric::kKl] = Measured{0.5, 0.25};
  again.per_example[Metric::kLoss] = {9, 9, 9, 9};
  again.per_example[Metric::kKl] = {8, 7, 6, 5};
  const Record added = add(again);
  EXPECT_EQ(added.id, first.id);
  EXPECT_EQ(added.value(), 1.5);
  EXPECT_EQ(added.value(Metric::kKl), 0.5);
  EXPECT_EQ(store_.per_example(first.id, Metric::kLoss), given.per_example[Metric::kLoss]);
  EXPECT_EQ(store_.per_example(first.id, Metric::kKl), (std::vector<float>{8, 7, 6, 5}));
  again.metrics[Metric::kKl]->value = 0.75;
  add(again);
  EXPECT_EQ(store_.record(first.id)->value(Metric::kKl), 0.5);

  again.cost.flops += 1;
  EXPECT_THROW(add(again), Error);
  const std::int64_t before = store_.run(run_)->records;
  EXPECT_EQ(before, 3);
  for (const char* change : {"UPDATE record SET flops = 0", "UPDATE score SET value = 0",
                             "DELETE FROM score", "DELETE FROM record"}) {
    EXPECT_THROW(test::query(path_, change), std::runtime_error) << change;
  }
}

TEST_F(OneStore, ABatchIsStoredWholeOrNotAtAll) {
  add(test::score({1}, 2, 50));
  std::vector<Score> batch;
  for (Width width = 2; width < 9; ++width) batch.push_back(test::score({width}, 1, 50));
  batch.back().metrics[Metric::kLoss]->standard_error = -1;  // a CHECK fails
  EXPECT_THROW(store_.add(run_, batch), Error);
  EXPECT_EQ(store_.run(run_)->records, 1);
  ASSERT_EQ(store_.front({}).size(), 1u);
  EXPECT_EQ(store_.front({})[0].value(), 2);

  // What the failed batch had won is won again by the same records: nothing of it lingers.
  batch.pop_back();
  store_.add(run_, batch);
  ASSERT_EQ(store_.front({}).size(), 1u);
  EXPECT_EQ(store_.front({})[0].widths, Widths{2});
  EXPECT_EQ(test::query(path_, "SELECT * FROM pareto WHERE metric = 'loss'").size(), 4u);
  store_.add(run_, {});
}

// What data were used for belongs to the run that used them: scored for nothing at first, then
// searched on with one model, they confirm what was found elsewhere with another.
TEST_F(OneStore, ThePartIsThatOfTheRunsAndNotOfTheFirstOfThem) {
  const std::int64_t other = store_.model(test::model_row("other"));
  const std::int64_t data = store_.data(test::data_row("reused"));
  const auto use = [&](std::int64_t model, const char* part) {
    RunRow run = test::run_row(model, data);
    run.part = part;
    run.status = "done";
    EXPECT_EQ(store_.run(store_.begin_run(run))->part, part);
    std::vector<std::string> parts;
    for (const DataUse& found : store_.data_uses()) {
      if (found.data == data) parts.push_back(std::to_string(found.model) + found.part);
    }
    return parts;
  };
  using Parts = std::vector<std::string>;
  EXPECT_EQ(use(1, ""), (Parts{"1"}));
  EXPECT_EQ(use(1, "search"), (Parts{"1search"}));
  EXPECT_EQ(use(other, "confirm"), (Parts{"1search", "2confirm"}));
  EXPECT_EQ(use(1, ""), (Parts{"1search", "2confirm"}));
  EXPECT_EQ(use(1, "confirm"), (Parts{"1search+confirm", "2confirm"}));
}

TEST_F(OneStore, WrongUseIsNamed) {
  std::vector<Score> one = {test::score({1}, 2, 50)};
  EXPECT_THROW(store_.add(run_ + 1, one), Error);
  EXPECT_THROW(store_.resume_run(run_ + 1), Error);
  EXPECT_THROW(store_.finish_run(run_, "running"), UsageError);
  EXPECT_THROW(store_.begin_run(test::run_row(model_ + 1, data_)), Error);
  RunRow part = test::run_row(model_, data_);
  part.part = "no part";
  EXPECT_THROW(store_.begin_run(part), Error);
  one[0].widths = {};
  EXPECT_THROW(store_.add(run_, one), Error);
  Store reader = Store::open(path_, Store::Mode::kRead);
  EXPECT_THROW(reader.model(test::model_row("other")), Error);
  EXPECT_THROW(reader.begin_run(test::run_row(model_, data_)), Error);
  EXPECT_EQ(reader.runs().size(), 1u);
}

}  // namespace
}  // namespace mnm
