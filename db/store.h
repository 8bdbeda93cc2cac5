// The store: every score ever taken, in one SQLite file. db/schema.sql defines the tables and their
// meaning.
//
// It uses WAL, foreign keys, and a version in the file. Several processes may write at once: each
// add() is one transaction and waits for its turn. A killed process loses at most the batch that it
// was adding.
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
#include "model/cost.h"
#include "model/latency.h"
#include "model/widths.h"
#include "search/budget.h"

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
  std::string settings;  // JSON: all that resuming needs
  std::string command_line, build, device;
  std::string started;  // ISO 8601, UTC; the time of begin_run where it is empty
  Dtype dtype = Dtype::kF32;
  std::string status;  // "running", "done", "stopped"
  std::string owner;   // "process 123 on host" while that lives and may add to it, else empty
  std::int64_t records = 0;
};

struct Measured {
  double value = 0;           // if it is not a number, it is on no front
  double standard_error = 0;  // NaN if it is unknown, as with one example
};

// "ok", "nan" or "inf"; "" if it was not measured.
std::string_view status_of(const std::optional<Measured>& measured);

// What was measured of one submodel: its costs, and the metrics that were asked for.
struct Score {
  Widths widths;
  Cost cost;
  std::int64_t samples = 0;  // examples
  PerMetric<std::optional<Measured>> metrics{};
  // For each metric that was measured, the value of every example in the dataset's order. Whoever
  // measures fills it in. Store::per_example reads it back.
  PerMetric<std::vector<float>> per_example{};

  const std::optional<Measured>& operator[](Metric metric) const { return metrics[metric]; }
  std::string_view status(Metric metric = Metric::kLoss) const {
    return status_of(metrics[metric]);
  }
  bool ok(Metric metric = Metric::kLoss) const { return status(metric) == "ok"; }
  double value(Metric metric = Metric::kLoss) const;  // NaN where it was not measured
};

// What is stored: a score on one dataset in one dtype of arithmetic. Model, data and dtype are
// those of the run that measured it first.
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

// A submodel that was measured as a whole when the search that had found it ended.
struct WholeLatencyRow {
  std::int64_t id = 0;
  std::int64_t latency = 0;  // the measurement that the search counted with
  std::int64_t run = 0;      // the search, by its first run
  LatencyCheck measured;
  std::int64_t repeats = 0;  // that the median is of
  std::string created;       // ISO 8601, UTC; the time of add_whole_latencies where it is empty
};

// Which front is asked for. Records of different models, data or dtypes are never compared.
struct FrontQuery {
  std::optional<std::int64_t> model, data;
  std::optional<Dtype> dtype;
  std::vector<std::int64_t> runs;  // records of these runs alone; empty: all
  Metric metric = Metric::kLoss;
  CostKind cost = CostKind::kParams;
  // Gives records of the one model their latency. Needed if latency is the cost or has a budget.
  const LatencyTable* latency = nullptr;
  // Gives them their memory. Needed if that is the cost or has a budget: what a record keeps of its
  // costs is for the context of its data.
  const CostTable* memory = nullptr;
  std::optional<std::int64_t> min_cost, max_cost;
  std::vector<Budget> budgets;  // each an upper limit
  // Returns every record that passes the filters instead of the front, by cost. These include
  // failed records and records on which the metric was not measured.
  bool all = false;
};

std::string now_utc();  // as the store writes times, ISO 8601: "2026-01-31T12:00:00Z"

class Store {
 public:
  enum class Mode : std::uint8_t { kRead, kWrite };

  // kWrite creates the file if it does not exist or is empty, and brings a store of an older
  // version to this version. kRead never creates, locks or changes anything, and also reads from
  // read-only places. `patience` is how long any call waits for another process that writes. One
  // thread at a time uses a store. Error: the file is not a database, is truncated, is of another
  // version or program (both versions are named), cannot be read, or cannot be written.
  static Store open(const std::filesystem::path& path, Mode mode,
                    std::chrono::milliseconds patience = std::chrono::seconds(30));
  // Error as open's for writing, for commands that have nothing to store until they end. A store
  // that is not there yet is not made: a command that is stopped before leaves none.
  static void require_writable(const std::filesystem::path& path);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // The id of the row with this fingerprint, inserted if new.
  std::int64_t model(const ModelRow& row);
  std::int64_t data(const DataRow& row);
  std::vector<std::pair<std::int64_t, ModelRow>> models() const;
  std::vector<std::pair<std::int64_t, DataRow>> datasets() const;
  std::vector<DataUse> data_uses() const;  // by model, then data

  // Begins a run with the status "running". This process owns it until finish_run or until the
  // process ends.
  std::int64_t begin_run(const RunRow& row);
  // Takes over an unfinished run. Error, which names the owner, while another process that owns it
  // is alive.
  void resume_run(std::int64_t run);
  void finish_run(std::int64_t run, const std::string& status);  // "done" or "stopped"
  std::optional<RunRow> run(std::int64_t id) const;
  std::vector<RunRow> runs() const;  // newest last

  // Adds the scores to the run, in order, in one transaction. They are scores of the run's model,
  // on its data, in its dtype. Returns what the store has now, without the values per example. A
  // submodel that is known is not stored again. The run then refers to the known record, which
  // gains the metrics, and the values per example, that it lacked.
  //
  // Error, and nothing is added: this process does not own the run; a known record has other costs;
  // the disk is full; another writer took longer than the patience.
  std::vector<Record> add(std::int64_t run, std::span<const Score> scores);
  // The records of a run in the order they were added: what resuming replays.
  std::vector<Record> records_of(std::int64_t run) const;
  std::optional<Record> find(std::int64_t model, std::int64_t data, Dtype dtype,
                             const Widths& widths) const;
  std::optional<Record> record(std::int64_t id) const;
  // In the order of the record's data, one for each example. Empty if they are not kept. Error if
  // there are more or fewer of them than the data have examples: the file is damaged.
  std::vector<float> per_example(std::int64_t record, Metric metric) const;

  // The front, by ascending cost: the records that no other record dominates. Of equal records the
  // first recorded stays. There is one front per model, data and dtype. They are concatenated in
  // the order of model, data and the name of the dtype. Takes less than 100 ms on 100,000 records.
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

  // A runtime's answer about the probe of an artifact. scripts/verify adds them.
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
  // Adds all rows, in one transaction. Their ids are not read.
  void add_whole_latencies(std::span<const WholeLatencyRow> rows);
  // Those that belong to a measurement of latency, newest last.
  std::vector<WholeLatencyRow> whole_latencies(std::int64_t latency) const;

  struct Impl;  // db/store_impl.h

 private:
  Store();
  std::unique_ptr<Impl> impl_;
};

}  // namespace mnm
