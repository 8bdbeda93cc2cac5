// Fronts, asked for. Those of all records are kept in table member; those of a choice of records
// are computed from the records chosen.
#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "db/store.h"
#include "db/store_impl.h"
#include "model/error.h"

namespace mnm {
namespace {

// WHERE terms on table record r, and the values of their parameters, all integers.
struct Filter {
  std::string terms;
  std::vector<std::int64_t> values;

  void add(std::string_view term, std::int64_t value) {
    terms += fmt::format(" AND {}", term);
    values.push_back(value);
  }
};

Filter filter_of(const FrontQuery& query, const Metric& metric) {
  Filter filter;
  filter.terms = fmt::format("r.status = 'ok' AND r.{} IS NOT NULL", metric.value_column);
  if (query.model) filter.add("r.model = ?", *query.model);
  if (query.data) filter.add("r.data = ?", *query.data);
  // Spelled out, for it is one of three words of ours.
  if (query.dtype) filter.terms += fmt::format(" AND r.dtype = '{}'", to_string(*query.dtype));
  const std::string_view cost = column_of(query.cost);
  if (query.min_cost) filter.add(fmt::format("r.{} >= ?", cost), *query.min_cost);
  if (query.max_cost) filter.add(fmt::format("r.{} <= ?", cost), *query.max_cost);
  for (const auto& [kind, limit] : query.budgets) {
    filter.add(fmt::format("r.{} <= ?", column_of(kind)), limit);
  }
  if (!query.runs.empty()) {
    std::string marks;
    for (const std::int64_t run : query.runs) {
      marks += marks.empty() ? "?" : ", ?";
      filter.values.push_back(run);
    }
    filter.terms +=
        fmt::format(" AND r.id IN (SELECT record FROM run_record WHERE run IN ({}))", marks);
  }
  return filter;
}

sqlite::Statement select(Store::Impl& store, const std::string& sql,
                         const std::vector<std::int64_t>& values) {
  sqlite::Statement statement = store.file->connection().prepare(sql);
  int position = 0;
  for (const std::int64_t value : values) statement.bind_one(++position, value);
  return statement;
}

std::vector<Record> records_from(const Store::Impl& store, sqlite::Statement rows) {
  std::vector<Record> records;
  while (rows.step()) records.push_back(record_of(store, rows));
  return records;
}

std::vector<Record> all_records(Store::Impl& store, const FrontQuery& query, const Filter& filter) {
  return records_from(store,
                      select(store,
                             fmt::format("SELECT {} FROM record r WHERE {} "
                                         "ORDER BY r.model, r.data, r.dtype, r.{}, r.id",
                                         kRecordColumns, filter.terms, column_of(query.cost)),
                             filter.values));
}

// The kept fronts serve wherever leaving records out takes no member's beater away: one model, data
// or dtype, and costs up to a limit, since whatever beats a record costs at most as much.
bool is_kept(const FrontQuery& query) {
  return query.runs.empty() && !query.min_cost &&
         std::all_of(query.budgets.begin(), query.budgets.end(),
                     [&](const auto& budget) { return budget.first == query.cost; });
}

std::vector<Record> kept_front(Store::Impl& store, const FrontQuery& query, const Metric& metric) {
  std::int64_t limit = query.max_cost.value_or(std::numeric_limits<std::int64_t>::max());
  for (const auto& [kind, budget] : query.budgets) limit = std::min(limit, budget);
  sqlite::Statement rows = store.file->connection().prepare(
      fmt::format("SELECT {} FROM front f JOIN member m ON m.front = f.id "
                  "JOIN record r ON r.id = m.record "
                  "WHERE f.metric = ?1 AND f.cost_kind = ?2 AND m.cost <= ?3 "
                  "AND (?4 IS NULL OR f.model = ?4) AND (?5 IS NULL OR f.data = ?5) "
                  "AND (?6 IS NULL OR f.dtype = ?6) "
                  "ORDER BY f.model, f.data, f.dtype, m.cost",
                  kRecordColumns));
  rows.bind(metric.name, to_string(query.cost), limit, query.model, query.data,
            query.dtype ? std::optional(to_string(*query.dtype)) : std::nullopt);
  return records_from(store, std::move(rows));
}

struct Point {
  std::size_t group = 0;  // of one model, data and dtype
  std::int64_t cost = 0;
  double objective = 0;
  std::int64_t record = 0;
};

std::vector<Record> computed_front(Store::Impl& store, const FrontQuery& query,
                                   const Metric& metric, const Filter& filter) {
  using Key = std::tuple<std::int64_t, std::int64_t, std::string>;
  std::vector<Key> groups;  // hardly ever more than one, so searched from the last one used
  std::size_t group = 0;
  std::vector<Point> points;
  sqlite::Statement rows = select(
      store,
      fmt::format("SELECT r.model, r.data, r.dtype, r.{}, {}r.{}, r.id FROM record r WHERE {}",
                  column_of(query.cost), metric.larger_wins ? "-" : "", metric.value_column,
                  filter.terms),
      filter.values);
  while (rows.step()) {
    Key key{rows.integer(0), rows.integer(1), rows.string(2)};
    if (groups.empty() || groups[group] != key) {
      group =
          static_cast<std::size_t>(std::find(groups.begin(), groups.end(), key) - groups.begin());
      if (group == groups.size()) groups.push_back(std::move(key));
    }
    points.push_back({group, rows.integer(3), rows.real(4), rows.integer(5)});
  }
  std::sort(points.begin(), points.end(), [&](const Point& a, const Point& b) {
    if (a.group != b.group) return groups[a.group] < groups[b.group];
    return std::tie(a.cost, a.objective, a.record) < std::tie(b.cost, b.objective, b.record);
  });

  std::vector<Record> front;
  sqlite::Statement row = store.file->connection().prepare(
      fmt::format("SELECT {} FROM record r WHERE r.id = ?", kRecordColumns));
  const Point* best = nullptr;
  for (const Point& point : points) {
    if (best != nullptr && best->group == point.group && best->objective <= point.objective)
      continue;
    best = &point;
    if (row.bind(point.record).step()) front.push_back(record_of(store, row));
  }
  return front;
}

}  // namespace

std::vector<Record> Store::front(const FrontQuery& query) const {
  const Metric& metric = metric_named(query.metric);
  return impl_->read([&] {
    if (!query.all && is_kept(query)) return kept_front(*impl_, query, metric);
    const Filter filter = filter_of(query, metric);
    return query.all ? all_records(*impl_, query, filter)
                     : computed_front(*impl_, query, metric, filter);
  });
}

}  // namespace mnm
