// The store: every score ever taken, in one SQLite file. Schema and its meaning: db/schema.sql.
//
// WAL, foreign keys, a version in the file. Several processes may write at once: each add() is one
// transaction and waits for its turn. A killed process loses at most the batch it was adding.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eval/metrics.h"
#include "model/budget.h"
#include "model/cost.h"
#include "model/latency.h"
#include "model/widths.h"

namespace mnm {

struct ModelRow {
  std::string fingerprint;  // of the checkpoint: identifies the row
  std::string name;         // the directory's name
  std::string family;
  std::string config;         // config.json
  std::string granularities;  // "64,128,256,512" of the first layer, for people
};

struct DataRow {
  std::string fingerprint;     // of inputs, targets and positions: identifies the row
  std::string name;            // the file's name
  std::int64_t context = 0;    // positions per example
  std::int64_t sequences = 0;  // examples
  std::string kind = "tokens";
};

// What the runs of a model used a dataset for: "search", "confirm", "search+confirm" or "".
struct DataUse {
  std::int64_t model = 0, data = 0;
  std::string part;
};

struct RunRow {
  std::int64_t id = 0;
  // The first run of the search that this one belongs to; begin_run takes 0 for the first itself.
  std::int64_t session = 0;
  std::int64_t model = 0, data = 0;
  std::string part;      // what it uses the data for: "search", "confirm" or ""
  std::string command;   // "search", "eval"
  std::string strategy;  // empty for eval
  std::uint64_t seed = 0;
  std::string settings;  // JSON: everything that resuming needs
  std::string command_line, build, device;
  std::string started;  // ISO 8601, UTC; the time of begin_run where it is empty
  Dtype dtype = Dtype::kF32;
  std::string status;  // "running", "done", "stopped"
  std::string owner;   // "process 123 on host" while that lives and may add to it, else empty
  std::int64_t records = 0;
};

struct Measured {
  double value = 0;           // may be no number: then it is on no front
  double standard_error = 0;  // NaN where it is unknown: of one example
};

// "ok", or "nan" or "inf" where the value is that; "" of what was not measured.
std::string_view status_of(const std::optional<Measured>& measured);

// What was measured of one submodel: its costs, and the metrics that were asked for.
struct Score {
  Widths widths;
  Cost cost;
  std::int64_t samples = 0;  // examples
  PerMetric<std::optional<Measured>> metrics{};
  // Of each metric that was measured, of every example in the dataset's order: filled by whoever
  // measures, read by Store::per_example.
  PerMetric<std::vector<float>> per_example{};

  const std::optional<Measured>& operator[](Metric metric) const { return metrics[metric]; }
  std::string_view status(Metric metric = Metric::kLoss) const {
    return status_of(metrics[metric]);
  }
  bool ok(Metric metric = Metric::kLoss) const { return status(metric) == "ok"; }
  double value(Metric metric = Metric::kLoss) const;  // NaN where it was not measured
};

// What is stored: a score on one dataset in one dtype of arithmetic, those of the run that measured
// it first.
struct Record : Score {
  std::int64_t id = 0;
  std::int64_t model = 0, data = 0;
  Dtype dtype = Dtype::kF32;
};

// One measurement of how long a model's submodels take.
struct LatencyRow {
  std::int64_t id = 0, model = 0;
  Latency measured;
  std::uint64_t seed = 0;
  std::string build, command_line;
  std::string created;  // ISO 8601, UTC; the time of add_latency where it is empty
};

// What the front is taken of. Records of different models, data or dtypes are never compared.
struct FrontQuery {
  std::optional<std::int64_t> model, data;
  std::optional<Dtype> dtype;
  std::vector<std::int64_t> runs;  // records of these runs alone; empty: all
  Metric metric = Metric::kLoss;
  CostKind cost = CostKind::kParams;
  // Of the one model; what gives records their latency. Needed where that is a cost asked for.
  const LatencyTable* latency = nullptr;
  std::optional<std::int64_t> min_cost, max_cost;
  std::vector<Budget> budgets;  // each an upper limit
  // Every record that passes the filters, not the front: by cost, also failed ones and those on
  // which the metric was not measured.
  bool all = false;
};

std::string now_utc();  // as the store writes times, ISO 8601: "2026-01-31T12:00:00Z"

class Store {
 public:
  enum class Mode : std::uint8_t { kRead, kWrite };

  // kWrite creates the file where there is none, or an empty one, and brings one of an older
  // version to this. kRead never creates, locks out or changes anything, and reads from read-only
  // places too. `patience`: how long any call waits for another process that writes. Error: not a
  // database, truncated, one of another version or program (both versions named), unreadable,
  // read-only. One thread at a time uses a store.
  static Store open(const std::filesystem::path& path, Mode mode,
                    std::chrono::milliseconds patience = std::chrono::seconds(30));
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // The id of the row with this fingerprint, inserted if new.
  std::int64_t model(const ModelRow& row);
  std::int64_t data(const DataRow& row);
  std::vector<std::pair<std::int64_t, ModelRow>> models() const;
  std::vector<std::pair<std::int64_t, DataRow>> datasets() const;
  std::vector<DataUse> data_uses() const;  // by model, then data

  // A new run, status "running", owned by this process until finish_run or the process ends.
  std::int64_t begin_run(const RunRow& row);
  // Takes over an unfinished run. Error while another process that owns it is alive, naming it.
  void resume_run(std::int64_t run);
  void finish_run(std::int64_t run, const std::string& status);  // "done" or "stopped"
  std::optional<RunRow> run(std::int64_t id) const;
  std::vector<RunRow> runs() const;  // newest last

  // Adds the scores to the run, in order, in one transaction: on the run's data, of its model, in
  // its dtype. Gives what the store has now, without the values per example. A submodel that is
  // known is not stored again: the run refers to the known record, which gains the metrics, and the
  // values per example, that it lacked. Error, and nothing is added: this process does not own the
  // run; a known record was counted at other costs; the disk is full; another writer outlasted the
  // patience.
  std::vector<Record> add(std::int64_t run, std::span<const Score> scores);
  // The records of a run in the order they were added: what resuming replays.
  std::vector<Record> records_of(std::int64_t run) const;
  std::optional<Record> find(std::int64_t model, std::int64_t data, Dtype dtype,
                             const Widths& widths) const;
  std::optional<Record> record(std::int64_t id) const;
  // Empty where they are not kept.
  std::vector<float> per_example(std::int64_t record, Metric metric) const;

  // The front, by ascending cost: no other record is at most as costly and at least as good, one of
  // them strictly; of equal ones the first recorded stays. One front per (model, data, dtype),
  // concatenated, by model, data and the dtype's name. Below 100 ms on 100,000 records.
  std::vector<Record> front(const FrontQuery& query) const;

  struct Artifact {
    std::int64_t id = 0, model = 0;
    std::optional<std::int64_t> record;
    Widths widths;
    std::string format, path, fingerprint, check, command_line, created;  // check: JSON
    std::int64_t bytes = 0;
  };
  std::int64_t add_artifact(const Artifact& artifact);
  std::vector<Artifact> artifacts() const;

  // What a runtime made of an artifact's probe; scripts/verify adds them.
  struct Verification {
    std::int64_t artifact = 0;
    std::string runtime, version;
    std::optional<double> worst;  // largest difference of a logit; nothing where one is no number
    double tolerance = 0;
    bool agrees = false;
    std::string machine, created;
  };
  std::vector<Verification> verifications() const;  // newest last
  std::int64_t add_latency(const LatencyRow& latency);
  std::vector<LatencyRow> latencies(std::int64_t model) const;  // newest last

  struct Impl;  // db/store_impl.h

 private:
  Store();
  std::unique_ptr<Impl> impl_;
};

}  // namespace mnm
