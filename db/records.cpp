// Records: added in batches, found again.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "db/latency_fronts.h"
#include "db/store.h"
#include "db/store_impl.h"
#include "model/error.h"

namespace mnm {
namespace {

static_assert(std::endian::native == std::endian::little, "the store keeps losses little-endian");
static_assert(sizeof(float) == 4);

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// SQLite turns NaN into NULL by itself, but keeps infinities, which no CHECK expects.
std::optional<double> finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

double real_or_nan(const sqlite::Statement& row, int column) {
  return row.null(column) ? kNaN : row.real(column);
}

std::optional<Measured> measured_of(const sqlite::Statement& row, int column) {
  if (row.null(column)) return std::nullopt;
  return Measured{row.real(column), real_or_nan(row, column + 1)};
}

// kl and agreement that are not numbers count as not measured.
std::optional<double> value_of(const std::optional<Measured>& measured) {
  return measured ? finite(measured->value) : std::nullopt;
}
std::optional<double> error_of(const std::optional<Measured>& measured) {
  return value_of(measured) ? finite(measured->standard_error) : std::nullopt;
}

std::string_view status_of(const Record& record) {
  if (std::isnan(record.loss.value)) return "nan";
  if (std::isinf(record.loss.value)) return "inf";
  return record.status;
}

bool same_costs(const Cost& a, const Cost& b) {
  return a.params == b.params && a.non_embedding == b.non_embedding && a.bytes == b.bytes &&
         a.flops == b.flops && a.kv_bytes == b.kv_bytes && a.state_bytes == b.state_bytes;
}

std::string select_records(std::string_view rest) {
  return fmt::format("SELECT {} FROM {}", kRecordColumns, rest);
}

std::optional<Record> one(const Store::Impl& store, sqlite::Statement& row) {
  std::optional<Record> record;
  if (row.step()) record = record_of(store, row);
  row.reset();
  return record;
}

// The statements of add(), looked up once per batch.
class Adder {
 public:
  Adder(Store::Impl& store, std::int64_t run)
      : store_(store),
        run_(run),
        insert_(store.statement(
            "INSERT INTO record (run, model, data, dtype, widths, status, samples, loss, loss_se, "
            "kl, kl_se, agreement, agreement_se, params, non_embedding, bytes, flops, kv_bytes, "
            "state_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (model, data, dtype, widths) DO NOTHING")),
        losses_(store.statement("INSERT INTO losses (record, f32) VALUES (?, ?) "
                                "ON CONFLICT (record) DO NOTHING")),
        refer_(store.statement("INSERT INTO run_record (run, position, record) VALUES (?, ?, ?)")),
        latency_fronts_(store.file->connection()) {
    sqlite::Statement& next =
        store.statement("SELECT coalesce(max(position) + 1, 0) FROM run_record WHERE run = ?");
    next.bind(run).step();
    position_ = next.integer(0);
    next.reset();
  }

  // The record as the store has it now, without its losses.
  Record add(const Record& record) {
    Record stored = insert(record);
    if (!record.losses.empty())
      losses_.bind(stored.id, std::as_bytes(std::span(record.losses))).run();
    refer_.bind(run_, position_++, stored.id).run();
    return stored;
  }

 private:
  Record insert(const Record& record) {
    const std::string_view status = status_of(record);
    const bool ok = status == "ok";
    const Cost& cost = record.cost;
    insert_
        .bind(run_, record.model, record.data, to_string(record.dtype), to_string(record.widths),
              status, record.samples, ok ? finite(record.loss.value) : std::nullopt,
              ok ? finite(record.loss.standard_error) : std::nullopt, value_of(record.kl),
              error_of(record.kl), value_of(record.agreement), error_of(record.agreement),
              cost.params, cost.non_embedding, cost.bytes, cost.flops, cost.kv_bytes,
              cost.state_bytes)
        .run();
    if (store_.file->connection().changes() == 0) return known(record);
    Record stored = record;
    stored.losses.clear();
    stored.id = store_.file->connection().last_id();
    stored.status = status;
    offer(stored);
    return stored;
  }

  Record known(const Record& record) {
    sqlite::Statement& find = store_.statement(select_records(
        "record r WHERE r.model = ? AND r.data = ? AND r.dtype = ? AND r.widths = ?"));
    find.bind(record.model, record.data, to_string(record.dtype), to_string(record.widths));
    std::optional<Record> found = one(store_, find);
    if (!found) fail("{} is damaged: an index and its table disagree", store_.path.string());
    if (!same_costs(found->cost, record.cost)) {
      fail(
          "record {} of {} ({}) has {} parameters, {} bytes and {} FLOPs per token, this run "
          "counts {}, {} and {}: count as the first run did, or give a new file",
          found->id, store_.path.string(), to_string(record.widths), found->cost.params,
          found->cost.bytes, found->cost.flops, record.cost.params, record.cost.bytes,
          record.cost.flops);
    }
    const bool more =
        (!found->kl && value_of(record.kl)) || (!found->agreement && value_of(record.agreement));
    if (!more) return *found;
    if (!found->kl && value_of(record.kl)) found->kl = record.kl;
    if (!found->agreement && value_of(record.agreement)) found->agreement = record.agreement;
    store_
        .statement(
            "UPDATE record SET kl = ?, kl_se = ?, agreement = ?, agreement_se = ? "
            "WHERE id = ?")
        .bind(value_of(found->kl), error_of(found->kl), value_of(found->agreement),
              error_of(found->agreement), found->id)
        .run();
    offer(*found);
    return *found;
  }

  void offer(const Record& record) {
    store_.fronts.offer(record);
    latency_fronts_.offer(record);
  }

  Store::Impl& store_;
  std::int64_t run_;
  std::int64_t position_ = 0;
  sqlite::Statement& insert_;
  sqlite::Statement& losses_;
  sqlite::Statement& refer_;
  LatencyFronts latency_fronts_;
};

}  // namespace

Record record_of(const Store::Impl& store, const sqlite::Statement& row) {
  Record record;
  record.id = row.integer(0);
  record.model = row.integer(1);
  record.data = row.integer(2);
  record.dtype = dtype_of(store, row.text(3));
  record.widths = widths_of(store, row.text(4));
  record.status = row.string(5);
  record.samples = row.integer(6);
  record.loss = {real_or_nan(row, 7), real_or_nan(row, 8)};
  if (record.status == "inf") record.loss.value = std::numeric_limits<double>::infinity();
  record.kl = measured_of(row, 9);
  record.agreement = measured_of(row, 11);
  record.cost = {row.integer(13), row.integer(14), row.integer(15),
                 row.integer(16), row.integer(17), row.integer(18)};
  return record;
}

void Store::add(std::int64_t run, std::span<Record> records) {
  std::vector<Record> stored;
  stored.reserve(records.size());
  impl_->write([&] {
    require_owned(*impl_, run);
    Adder adder(*impl_, run);
    for (const Record& record : records) stored.push_back(adder.add(record));
  });
  for (std::size_t i = 0; i < records.size(); ++i) {
    stored[i].losses = std::move(records[i].losses);
    records[i] = std::move(stored[i]);
  }
}

std::vector<Record> Store::records_of(std::int64_t run) const {
  return impl_->read([&] {
    std::vector<Record> records;
    sqlite::Statement& row = impl_->statement(select_records(
        "run_record JOIN record r ON r.id = run_record.record WHERE run_record.run = ? "
        "ORDER BY run_record.position"));
    row.bind(run);
    while (row.step()) records.push_back(record_of(*impl_, row));
    row.reset();
    return records;
  });
}

std::optional<Record> Store::find(std::int64_t model, std::int64_t data, Dtype dtype,
                                  const Widths& widths) const {
  return impl_->read([&] {
    sqlite::Statement& row = impl_->statement(select_records(
        "record r WHERE r.model = ? AND r.data = ? AND r.dtype = ? AND r.widths = ?"));
    return one(*impl_, row.bind(model, data, to_string(dtype), to_string(widths)));
  });
}

std::optional<Record> Store::record(std::int64_t id) const {
  return impl_->read([&] {
    return one(*impl_, impl_->statement(select_records("record r WHERE r.id = ?")).bind(id));
  });
}

std::vector<float> Store::losses(std::int64_t record) const {
  return impl_->read([&] {
    sqlite::Statement& row = impl_->statement("SELECT f32 FROM losses WHERE record = ?");
    std::vector<float> losses;
    if (row.bind(record).step()) {
      const std::span<const std::byte> bytes = row.blob(0);
      losses.resize(bytes.size() / sizeof(float));
      if (!losses.empty()) std::memcpy(losses.data(), bytes.data(), losses.size() * sizeof(float));
    }
    row.reset();
    return losses;
  });
}

}  // namespace mnm
