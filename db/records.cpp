// Records: added in batches, found again.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "db/latency_fronts.h"
#include "db/store.h"
#include "db/store_impl.h"

namespace mnm {
namespace {

static_assert(std::endian::native == std::endian::little, "the store keeps losses little-endian");
static_assert(sizeof(float) == 4);

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// SQLite turns NaN into NULL by itself, but keeps infinities, which no CHECK expects.
std::optional<double> finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

bool same_costs(const Cost& a, const Cost& b) {
  return a.params == b.params && a.non_embedding == b.non_embedding && a.bytes == b.bytes &&
         a.flops == b.flops && a.kv_bytes == b.kv_bytes && a.state_bytes == b.state_bytes;
}

std::optional<Record> one(const Store::Impl& store, sqlite::Statement& row) {
  std::optional<Record> record;
  if (row.step()) record = record_of(store, row);
  row.reset();
  return record;
}

constexpr std::string_view kSameSubmodel =
    "WHERE r.model = ? AND r.data = ? AND r.dtype = ? AND r.widths = ?";

// The statements of add(), looked up once per batch.
class Adder {
 public:
  Adder(Store::Impl& store, std::int64_t run)
      : store_(store),
        run_(run),
        insert_(store.statement(
            "INSERT INTO record (run, model, data, dtype, widths, samples, params, non_embedding, "
            "bytes, flops, kv_bytes, state_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (model, data, dtype, widths) DO NOTHING")),
        score_(store.statement("INSERT INTO score (metric, record, status, value, standard_error) "
                               "VALUES (?, ?, ?, ?, ?)")),
        examples_(store.statement("INSERT INTO example_scores (record, metric, f32) "
                                  "VALUES (?, ?, ?) ON CONFLICT (record, metric) DO NOTHING")),
        refer_(store.statement("INSERT INTO run_record (run, position, record) VALUES (?, ?, ?)")),
        find_(store.statement(select_records(store, "record r", kSameSubmodel))),
        latency_fronts_(store.file->connection()) {
    sqlite::Statement& row = store.statement(
        "SELECT model, data, dtype, "
        "(SELECT max(position) FROM run_record WHERE run = run.id) "
        "FROM run WHERE id = ?");
    row.bind(run).step();
    model_ = row.integer(0);
    data_ = row.integer(1);
    dtype_ = dtype_of(store, row.text(2));
    const std::int64_t last = row.null(3) ? -1 : row.integer(3);
    row.reset();
    if (last < -1 || last > std::numeric_limits<std::int64_t>::max() / 2) {
      fail("{} is damaged: its run {} has a record at position {}", store.path.string(), run, last);
    }
    position_ = last + 1;
  }

  // The record as the store has it now, without its values per example.
  Record add(const Score& score) {
    const std::string widths = to_string(score.widths);
    const Cost& cost = score.cost;
    insert_
        .bind(run_, model_, data_, to_string(dtype_), widths, score.samples, cost.params,
              cost.non_embedding, cost.bytes, cost.flops, cost.kv_bytes, cost.state_bytes)
        .run();
    Record stored = store_.file->connection().changes() == 0 ? known(score, widths) : fresh(score);
    for (const MetricRow& row : metric_table()) {
      const std::optional<Measured>& measured = score[row.metric];
      if (measured && !stored[row.metric]) add_metric(stored, row, *measured);
      if (const std::vector<float>& values = score.per_example[row.metric]; !values.empty()) {
        examples_.bind(stored.id, row.name, std::as_bytes(std::span(values))).run();
      }
    }
    refer_.bind(run_, position_++, stored.id).run();
    return stored;
  }

 private:
  // The row just inserted: nothing of it is measured yet.
  Record fresh(const Score& score) {
    Record stored;
    stored.widths = score.widths;
    stored.cost = score.cost;
    stored.samples = score.samples;
    stored.id = store_.file->connection().last_id();
    stored.model = model_;
    stored.data = data_;
    stored.dtype = dtype_;
    return stored;
  }

  Record known(const Score& score, const std::string& widths) {
    find_.bind(model_, data_, to_string(dtype_), widths);
    std::optional<Record> found = one(store_, find_);
    if (!found) fail("{} is damaged: an index and its table disagree", store_.path.string());
    if (!same_costs(found->cost, score.cost)) {
      fail(
          "record {} of {} ({}) has {} parameters, {} bytes and {} FLOPs per token, this run "
          "counts {}, {} and {}: count as the first run did, or give a new file",
          found->id, store_.path.string(), widths, found->cost.params, found->cost.bytes,
          found->cost.flops, score.cost.params, score.cost.bytes, score.cost.flops);
    }
    return *std::move(found);
  }

  void add_metric(Record& stored, const MetricRow& row, const Measured& measured) {
    const std::string_view status = status_of(measured);
    const bool ok = status == "ok";
    score_
        .bind(row.name, stored.id, status, finite(measured.value),
              ok ? finite(measured.standard_error) : std::nullopt)
        .run();
    stored.metrics[row.metric] = measured;
    store_.fronts.offer(stored, row.metric);
    latency_fronts_.offer(stored, row.metric);
  }

  Store::Impl& store_;
  std::int64_t run_, model_ = 0, data_ = 0;
  Dtype dtype_ = Dtype::kF32;
  std::int64_t position_ = 0;
  sqlite::Statement& insert_;
  sqlite::Statement& score_;
  sqlite::Statement& examples_;
  sqlite::Statement& refer_;
  sqlite::Statement& find_;
  LatencyFronts latency_fronts_;
};

}  // namespace

std::string_view status_of(const std::optional<Measured>& measured) {
  if (!measured) return "";
  return std::isnan(measured->value) ? "nan" : std::isinf(measured->value) ? "inf" : "ok";
}

double Score::value(Metric metric) const { return metrics[metric] ? metrics[metric]->value : kNaN; }

ScoreColumns score_columns(const Store::Impl& store, Metric metric) {
  const std::string_view name = to_string(metric);
  if (store.version >= 5) {
    return {fmt::format("JOIN score {0} ON {0}.metric = '{0}' AND {0}.record = r.id", name),
            fmt::format("{}.status", name), fmt::format("{}.value", name),
            fmt::format("{}.standard_error", name)};
  }
  if (metric == Metric::kLoss) return {"", "r.status", "r.loss", "r.loss_se"};
  if (metric != Metric::kKl && metric != Metric::kAgreement) return {"", "NULL", "NULL", "NULL"};
  return {"", fmt::format("CASE WHEN r.{} IS NOT NULL THEN 'ok' END", name),
          fmt::format("r.{}", name), fmt::format("r.{}_se", name)};
}

std::string select_records(const Store::Impl& store, std::string_view source,
                           std::string_view rest) {
  std::string columns =
      "r.id, r.model, r.data, r.dtype, r.widths, r.samples, r.params, r.non_embedding, r.bytes, "
      "r.flops, r.kv_bytes, r.state_bytes";
  std::string joins;
  for (const MetricRow& row : metric_table()) {
    const ScoreColumns score = score_columns(store, row.metric);
    columns += fmt::format(", {}, {}, {}", score.status, score.value, score.error);
    if (!score.join.empty()) joins += " LEFT " + score.join;
  }
  return fmt::format("SELECT {} FROM {}{} {}", columns, source, joins, rest);
}

Record record_of(const Store::Impl& store, const sqlite::Statement& row) {
  Record record;
  record.id = row.integer(0);
  record.model = row.integer(1);
  record.data = row.integer(2);
  record.dtype = dtype_of(store, row.text(3));
  record.widths = widths_of(store, row.text(4));
  record.samples = row.integer(5);
  record.cost = {row.integer(6), row.integer(7),  row.integer(8),
                 row.integer(9), row.integer(10), row.integer(11)};
  int column = 12;
  for (std::optional<Measured>& metric : record.metrics.values) {
    if (!row.null(column)) {
      const std::string_view status = row.text(column);
      metric = Measured{status == "ok"    ? row.real(column + 1)
                        : status == "inf" ? std::numeric_limits<double>::infinity()
                                          : kNaN,
                        row.null(column + 2) ? kNaN : row.real(column + 2)};
    }
    column += 3;
  }
  return record;
}

std::vector<Record> Store::add(std::int64_t run, std::span<const Score> scores) {
  return impl_->write([&] {
    require_owned(*impl_, run);
    Adder adder(*impl_, run);
    std::vector<Record> stored;
    stored.reserve(scores.size());
    for (const Score& score : scores) stored.push_back(adder.add(score));
    return stored;
  });
}

std::vector<Record> Store::records_of(std::int64_t run) const {
  return impl_->read([&] {
    std::vector<Record> records;
    sqlite::Statement& row = impl_->statement(
        select_records(*impl_, "run_record JOIN record r ON r.id = run_record.record",
                       "WHERE run_record.run = ? ORDER BY run_record.position"));
    row.bind(run);
    while (row.step()) records.push_back(record_of(*impl_, row));
    row.reset();
    return records;
  });
}

std::optional<Record> Store::find(std::int64_t model, std::int64_t data, Dtype dtype,
                                  const Widths& widths) const {
  return impl_->read([&] {
    sqlite::Statement& row = impl_->statement(select_records(*impl_, "record r", kSameSubmodel));
    return one(*impl_, row.bind(model, data, to_string(dtype), to_string(widths)));
  });
}

std::optional<Record> Store::record(std::int64_t id) const {
  return impl_->read([&] {
    return one(*impl_,
               impl_->statement(select_records(*impl_, "record r", "WHERE r.id = ?")).bind(id));
  });
}

std::vector<float> Store::per_example(std::int64_t record, Metric metric) const {
  return impl_->read([&] {
    std::vector<float> values;
    const bool losses_alone = impl_->version < 5;
    if (losses_alone && metric != Metric::kLoss) return values;
    constexpr std::string_view kData =
        "LEFT JOIN record r ON r.id = e.record LEFT JOIN data d ON d.id = r.data";
    sqlite::Statement& row =
        impl_->statement(fmt::format("SELECT e.f32, d.sequences FROM {} e {} WHERE e.record = ?{}",
                                     losses_alone ? "losses" : "example_scores", kData,
                                     losses_alone ? "" : " AND e.metric = ?"));
    std::optional<std::int64_t> examples;
    if (losses_alone ? row.bind(record).step() : row.bind(record, to_string(metric)).step()) {
      const std::span<const std::byte> bytes = row.blob(0);
      values.resize(bytes.size() / sizeof(float));
      if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
      examples = row.integer(1);  // 0 where there is no such record or no such data
    }
    row.reset();
    if (examples && std::cmp_not_equal(values.size(), *examples)) {
      fail(
          "{} is damaged: record {} has {} values of {} per example, and its data have {} examples",
          impl_->path.string(), record, values.size(), to_string(metric), *examples);
    }
    return values;
  });
}

}  // namespace mnm
