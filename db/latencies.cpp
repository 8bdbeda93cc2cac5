#include <limits>
#include <utility>

#include "base/error.h"
#include "db/latency_fronts.h"
#include "db/store.h"
#include "db/store_impl.h"

namespace mnm {
namespace {

Phase phase_of(const Store::Impl& store, std::string_view text) {
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (text == to_string(phase)) return phase;
  }
  fail("{} is damaged: it holds the phase '{}', expected prefill or decode", store.path.string(),
       text);
}

// A number that counts what was measured, in the range that the command `latency` takes.
std::int64_t count_of(const Store::Impl& store, std::int64_t latency, std::string_view what,
                      std::int64_t count) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (count >= 1 && count <= kMost) return count;
  fail("{} is damaged: its latency {} has {} {}, expected 1 to {}", store.path.string(), latency,
       count, what, kMost);
}

void read_parts(Store::Impl& store, LatencyRow& latency) {
  latency.measured.parts = latency_parts(store.file->connection(), latency.id);
  sqlite::Statement& check = store.statement(
      "SELECT widths, predicted, seconds, spread FROM latency_check WHERE latency = ? "
      "ORDER BY widths");
  check.bind(latency.id);
  while (check.step()) {
    latency.measured.checks.push_back(
        {widths_of(store, check.text(0)), check.real(1), {check.real(2), check.real(3)}});
  }
  check.reset();
}

}  // namespace

std::int64_t Store::add_latency(const LatencyRow& row) {
  return impl_->write([&] {
    const Latency& latency = row.measured;
    impl_
        ->statement(
            "INSERT INTO latency (model, device, dtype, phase, batch, length, repeats, seed, "
            "build, "
            "command_line, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(row.model, latency.device, to_string(latency.dtype),
              to_string(latency.workload.phase), latency.workload.batch, latency.workload.length,
              latency.repeats, row.seed, row.build, row.command_line,
              row.created.empty() ? now_utc() : row.created)
        .run();
    const std::int64_t id = impl_->file->connection().last_id();
    for (const LatencyPart& part : latency.parts) {
      impl_
          ->statement(
              "INSERT INTO latency_part (latency, layer, width, seconds, spread) "
              "VALUES (?, ?, ?, ?, ?)")
          .bind(id, part.layer, part.width, part.seconds.median, part.seconds.spread)
          .run();
    }
    for (const LatencyCheck& check : latency.checks) {
      impl_
          ->statement(
              "INSERT INTO latency_check (latency, widths, predicted, seconds, spread) "
              "VALUES (?, ?, ?, ?, ?)")
          .bind(id, to_string(check.widths), check.predicted, check.seconds.median,
                check.seconds.spread)
          .run();
    }
    LatencyFronts(impl_->file->connection()).add(id);
    return id;
  });
}

std::vector<LatencyRow> Store::latencies(std::int64_t model) const {
  return impl_->read([&] {
    std::vector<LatencyRow> latencies;
    if (impl_->version < 3) return latencies;
    sqlite::Statement& row = impl_->statement(
        "SELECT id, device, dtype, phase, batch, length, repeats, seed, build, command_line, "
        "created FROM latency WHERE model = ? ORDER BY id");
    row.bind(model);
    while (row.step()) {
      LatencyRow& latency = latencies.emplace_back();
      latency.id = row.integer(0);
      latency.model = model;
      latency.measured.device = row.string(1);
      latency.measured.dtype = dtype_of(*impl_, row.text(2));
      latency.measured.workload = {phase_of(*impl_, row.text(3)),
                                   count_of(*impl_, latency.id, "sequences", row.integer(4)),
                                   count_of(*impl_, latency.id, "tokens", row.integer(5))};
      latency.measured.repeats = count_of(*impl_, latency.id, "repeats", row.integer(6));
      latency.seed = static_cast<std::uint64_t>(row.integer(7));
      latency.build = row.string(8);
      latency.command_line = row.string(9);
      latency.created = row.string(10);
    }
    row.reset();
    for (LatencyRow& latency : latencies) read_parts(*impl_, latency);
    return latencies;
  });
}

void Store::add_whole_latencies(std::span<const WholeLatencyRow> rows) {
  impl_->write([&] {
    for (const WholeLatencyRow& row : rows) {
      const LatencyCheck& measured = row.measured;
      impl_
          ->statement(
              "INSERT INTO latency_whole (latency, run, widths, predicted, seconds, spread, "
              "repeats, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
          .bind(row.latency, row.run, to_string(measured.widths), measured.predicted,
                measured.seconds.median, measured.seconds.spread, row.repeats,
                row.created.empty() ? now_utc() : row.created)
          .run();
    }
  });
}

std::vector<WholeLatencyRow> Store::whole_latencies(std::int64_t latency) const {
  return impl_->read([&] {
    std::vector<WholeLatencyRow> rows;
    if (impl_->version < 6) return rows;
    sqlite::Statement& row = impl_->statement(
        "SELECT id, run, widths, predicted, seconds, spread, repeats, created FROM latency_whole "
        "WHERE latency = ? ORDER BY id");
    row.bind(latency);
    while (row.step()) {
      rows.push_back({row.integer(0),
                      latency,
                      row.integer(1),
                      {widths_of(*impl_, row.text(2)), row.real(3), {row.real(4), row.real(5)}},
                      row.integer(6),
                      row.string(7)});
    }
    row.reset();
    return rows;
  });
}

}  // namespace mnm
