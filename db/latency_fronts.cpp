#include "db/latency_fronts.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "db/store_impl.h"

namespace mnm {
namespace {

std::vector<std::int64_t> ids(sqlite::Statement& rows) {
  std::vector<std::int64_t> found;
  while (rows.step()) found.push_back(rows.integer(0));
  return found;
}

}  // namespace

std::vector<LatencyPart> latency_parts(const sqlite::Connection& store, std::int64_t latency) {
  sqlite::Statement row = store.prepare(
      "SELECT layer, width, seconds, spread FROM latency_part WHERE latency = ? "
      "ORDER BY layer, width");
  row.bind(latency);
  std::vector<LatencyPart> parts;
  while (row.step()) {
    const std::int64_t layer = row.integer(0), width = row.integer(1);
    if (layer < kFixedPart || std::cmp_greater_equal(layer, kMaxLayers) || width < 0 ||
        width > std::numeric_limits<Width>::max()) {
      fail(
          "{} is damaged: its latency {} has a time of layer {} at width {}, expected a layer from "
          "{} to {} and a width from 0 to {}",
          store.path().string(), latency, layer, width, kFixedPart, kMaxLayers - 1,
          std::numeric_limits<Width>::max());
    }
    parts.push_back(
        {static_cast<int>(layer), static_cast<Width>(width), {row.real(2), row.real(3)}});
  }
  return parts;
}

LatencyFronts::LatencyFronts(const sqlite::Connection& store)
    : store_(store),
      select_(store.prepare("SELECT cost, objective, record FROM latency_member WHERE latency = ? "
                            "AND data = ? AND dtype = ? AND metric = ? ORDER BY cost")),
      insert_(store.prepare("INSERT INTO latency_member (latency, data, dtype, metric, cost, "
                            "objective, record) VALUES (?, ?, ?, ?, ?, ?, ?)")),
      beat_(store.prepare("DELETE FROM latency_member WHERE latency = ? AND data = ? AND dtype = ? "
                          "AND metric = ? AND cost BETWEEN ? AND ?")) {}

void LatencyFronts::offer(const Record& record, Metric metric) {
  if (!record.ok(metric)) return;
  const auto [of_model, is_new] = tables_.try_emplace(record.model);
  if (is_new) {
    sqlite::Statement standing =
        store_.prepare("SELECT latency FROM latency_stands WHERE model = ?");
    for (const std::int64_t latency : ids(standing.bind(record.model))) {
      of_model->second.emplace_back(latency, LatencyTable(latency_parts(store_, latency)));
    }
  }
  for (const auto& [latency, table] : of_model->second) offer(latency, table, record, metric);
}

void LatencyFronts::add(std::int64_t latency) {
  store_
      .prepare(
          "DELETE FROM latency_member WHERE latency NOT IN (SELECT latency FROM latency_stands)")
      .run();
  const LatencyTable table(latency_parts(store_, latency));
  sqlite::Statement row = store_.prepare(
      "SELECT r.id, r.data, r.dtype, r.widths, s.value FROM latency l "
      "JOIN record r ON r.model = l.model JOIN score s ON s.metric = ?2 AND s.record = r.id "
      "WHERE l.id = ?1 AND s.status = 'ok' ORDER BY r.id");
  for (const MetricRow& metric : metric_table()) {
    row.bind(latency, metric.name);
    while (row.step()) {
      try {
        Record record;
        record.id = row.integer(0);
        record.data = row.integer(1);
        record.dtype = parse_dtype(row.text(2));
        record.widths = parse_widths(row.text(3), table.layers());
        record.metrics[metric.metric] = Measured{row.real(4), 0};
        offer(latency, table, record, metric.metric);
      } catch (const UsageError&) {  // its widths are not of so many layers
      }
    }
  }
}

void LatencyFronts::add_all() {
  sqlite::Statement standing = store_.prepare("SELECT latency FROM latency_stands");
  for (const std::int64_t latency : ids(standing)) add(latency);
}

void LatencyFronts::offer(std::int64_t latency, const LatencyTable& table, const Record& record,
                          Metric metric) {
  if (!table.covers(record.widths)) return;
  const std::int64_t cost = table.nanoseconds(record.widths);
  const double objective = objective_of(metric, record.value(metric));
  if (std::isnan(objective)) return;
  const auto entry =
      members_of({latency, record.data, record.dtype, metric}).offer(cost, objective, record.id);
  if (!entry) return;
  const std::string_view dtype = to_string(record.dtype), name = to_string(metric);
  if (entry->beaten) {
    beat_.bind(latency, record.data, dtype, name, entry->beaten->first, entry->beaten->second)
        .run();
  }
  insert_.bind(latency, record.data, dtype, name, cost, objective, record.id).run();
}

Staircase& LatencyFronts::members_of(const Front& front) {
  const auto [found, is_new] = fronts_.try_emplace(front);
  if (!is_new) return found->second;
  select_.bind(front.latency, front.data, to_string(front.dtype), to_string(front.metric));
  while (select_.step()) {
    found->second.load(select_.integer(0), select_.real(1), select_.integer(2));
  }
  select_.reset();
  return found->second;
}

}  // namespace mnm
