// Fronts, asked for. Those of all records are kept in table member; those of a choice of records
// are computed from the records chosen.
#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "db/staircase.h"
#include "db/store.h"
#include "db/store_impl.h"

namespace mnm {
namespace {

// What records r to take, and the values of the parameters in it, all integers. A record that
// several of the runs asked for comes several times.
struct Filter {
  std::string source = "record r";
  std::string terms;
  std::vector<std::int64_t> values;

  void add(std::string_view term, std::int64_t value) {
    terms += fmt::format(" AND {}", term);
    values.push_back(value);
  }
};

// A kind of cost as SQL: a column, or a function that is there while a query runs.
std::string cost_of(CostKind kind) {
  if (std::ranges::find(kExactCosts, kind) != std::end(kExactCosts)) {
    return fmt::format("r.{}", column_of(kind));
  }
  return fmt::format("{}(r.widths)", to_string(kind));
}

Filter filter_of(const FrontQuery& query) {
  Filter filter;
  filter.terms = "TRUE";
  if (query.model) filter.add("r.model = ?", *query.model);
  if (query.data) filter.add("r.data = ?", *query.data);
  // Spelled out, for it is one of three words of ours.
  if (query.dtype) filter.terms += fmt::format(" AND r.dtype = '{}'", to_string(*query.dtype));
  const std::string cost = cost_of(query.cost);
  if (query.min_cost) filter.add(cost + " >= ?", *query.min_cost);
  if (query.max_cost) filter.add(cost + " <= ?", *query.max_cost);
  for (const auto& [kind, limit] : query.budgets) {
    filter.add(cost_of(kind) + " <= ?", limit);
  }
  if (!query.runs.empty()) {
    filter.source = "run_record q CROSS JOIN record r ON r.id = q.record";
    std::string marks;
    for (const std::int64_t run : query.runs) {
      marks += marks.empty() ? "?" : ", ?";
      filter.values.push_back(run);
    }
    filter.terms += fmt::format(" AND q.run IN ({})", marks);
  }
  return filter;
}

// KIND(widths) in SQL, while one lives. Without `cost`, there is no such function.
class CostFunction {
 public:
  using OfWidths = std::function<std::int64_t(const Widths&)>;

  CostFunction(Store::Impl& store, CostKind kind, OfWidths cost)
      : store_(store), name_(to_string(kind)), cost_(std::move(cost)) {
    define(cost_ ? &call : nullptr);
  }
  CostFunction(const CostFunction&) = delete;
  CostFunction& operator=(const CostFunction&) = delete;
  ~CostFunction() { define(nullptr); }

 private:
  void define(void (*function)(sqlite3_context*, int, sqlite3_value**)) {
    sqlite3_create_function_v2(store_.file->connection().handle(), name_.c_str(), 1,
                               SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, this,
                               function, nullptr, nullptr, nullptr);
  }
  static void call(sqlite3_context* context, int, sqlite3_value** values) {
    const auto* self = static_cast<const CostFunction*>(sqlite3_user_data(context));
    const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(values[0]));
    try {
      sqlite3_result_int64(context,
                           self->cost_(widths_of(self->store_, text == nullptr ? "" : text)));
    } catch (const std::exception& error) {
      sqlite3_result_error(context, error.what(), -1);
    }
  }

  Store::Impl& store_;
  std::string name_;
  OfWidths cost_;
};

CostFunction::OfWidths latency_by(const LatencyTable* table) {
  if (table == nullptr) return {};
  return [table](const Widths& widths) { return table->nanoseconds(widths); };
}

// A store may hold widths that are not of the model that it names.
CostFunction::OfWidths memory_by(const CostTable* table) {
  if (table == nullptr) return {};
  return [table](const Widths& widths) {
    if (widths.size() != table->layers()) {
      fail("widths {} are of {} layers, and the model has {}", to_string(widths), widths.size(),
           table->layers());
    }
    return table->of(widths).memory;
  };
}

sqlite::Statement select(Store::Impl& store, const std::string& sql,
                         const std::vector<std::int64_t>& values) {
  sqlite::Statement statement = store.file->connection().prepare(sql);
  int position = 0;
  for (const std::int64_t value : values) statement.bind_one(++position, value);
  return statement;
}

// Equal rows come one after another, and are taken once.
std::vector<Record> records_from(const Store::Impl& store, sqlite::Statement rows) {
  std::vector<Record> records;
  while (rows.step()) {
    const bool again = !records.empty() && records.back().id == rows.integer(0);
    if (!again) records.push_back(record_of(store, rows));
  }
  return records;
}

std::vector<Record> all_records(Store::Impl& store, const FrontQuery& query, const Filter& filter) {
  return records_from(
      store,
      select(store,
             select_records(store, filter.source,
                            fmt::format("WHERE {} ORDER BY r.model, r.data, r.dtype, {}, r.id",
                                        filter.terms, cost_of(query.cost))),
             filter.values));
}

// The kept fronts serve wherever leaving records out takes no member's beater away: one model, data
// or dtype, and costs up to a limit, since whatever beats a record costs at most as much.
bool is_kept(const FrontQuery& query) {
  return query.runs.empty() && !query.min_cost &&
         std::ranges::find(kExactCosts, query.cost) != std::end(kExactCosts) &&
         std::all_of(query.budgets.begin(), query.budgets.end(),
                     [&](const auto& budget) { return budget.kind == query.cost; });
}

std::vector<Record> kept_front(Store::Impl& store, const FrontQuery& query) {
  std::int64_t limit = query.max_cost.value_or(std::numeric_limits<std::int64_t>::max());
  for (const auto& [kind, budget] : query.budgets) limit = std::min(limit, budget);
  sqlite::Statement rows = store.file->connection().prepare(select_records(
      store, "front f JOIN member m ON m.front = f.id JOIN record r ON r.id = m.record",
      "WHERE f.metric = ?1 AND f.cost_kind = ?2 AND m.cost <= ?3 "
      "AND (?4 IS NULL OR f.model = ?4) AND (?5 IS NULL OR f.data = ?5) "
      "AND (?6 IS NULL OR f.dtype = ?6) "
      "ORDER BY f.model, f.data, f.dtype, m.cost"));
  rows.bind(to_string(query.metric), to_string(query.cost), limit, query.model, query.data,
            query.dtype ? std::optional(to_string(*query.dtype)) : std::nullopt);
  return records_from(store, std::move(rows));
}

// Of every record that has one, by ascending id: failed records, and those whose metric was not
// measured, are on no front. Read in one piece: looked up record by record, the scores of 100,000
// take as long as all the rest.
using Values = std::vector<std::pair<std::int64_t, double>>;

Values values_of(Store::Impl& store, Metric metric) {
  const ScoreColumns score = score_columns(store, metric);
  sqlite::Statement row = store.file->connection().prepare(
      store.version < 5 ? fmt::format("SELECT r.id, {} FROM record r WHERE {} = 'ok' ORDER BY r.id",
                                      score.value, score.status)
                        : fmt::format("SELECT record, value FROM score WHERE metric = '{}' "
                                      "AND status = 'ok' ORDER BY record",
                                      to_string(metric)));
  Values values;
  while (row.step()) values.emplace_back(row.integer(0), row.real(1));
  return values;
}

std::vector<Record> computed_front(Store::Impl& store, const FrontQuery& query,
                                   const Filter& filter) {
  const Values values = values_of(store, query.metric);
  sqlite::Statement rows = select(store,
                                  fmt::format("SELECT r.model, r.data, r.dtype, {}, r.id FROM {} "
                                              "WHERE {}",
                                              cost_of(query.cost), filter.source, filter.terms),
                                  filter.values);
  using Key = std::tuple<std::int64_t, std::int64_t, std::string>;  // model, data, dtype
  std::map<Key, Staircase> fronts;
  auto at = fronts.end();  // where the record before belonged: mostly this one does, too
  while (rows.step()) {
    const std::int64_t id = rows.integer(4);
    const auto found = std::ranges::lower_bound(values, id, {}, &Values::value_type::first);
    if (found == values.end() || found->first != id) continue;
    if (at == fronts.end() || std::get<0>(at->first) != rows.integer(0) ||
        std::get<1>(at->first) != rows.integer(1) || std::get<2>(at->first) != rows.text(2)) {
      at = fronts.try_emplace({rows.integer(0), rows.integer(1), rows.string(2)}).first;
    }
    at->second.offer(rows.integer(3), objective_of(query.metric, found->second), id);
  }
  std::vector<Record> records;
  sqlite::Statement row =
      store.file->connection().prepare(select_records(store, "record r", "WHERE r.id = ?"));
  for (const auto& [key, front] : fronts) {
    for (const auto& [cost, member] : front.members()) {
      if (row.bind(member.record).step()) records.push_back(record_of(store, row));
    }
  }
  return records;
}

}  // namespace

std::vector<Record> Store::front(const FrontQuery& query) const {
  const CostFunction::OfWidths latency = latency_by(query.latency),
                               memory = memory_by(query.memory);
  return impl_->read([&] {
    std::vector<Record> records;
    if (!query.all && is_kept(query)) {
      records = kept_front(*impl_, query);
    } else {
      const CostFunction of_latency(*impl_, CostKind::kLatency, latency);
      const CostFunction of_memory(*impl_, CostKind::kMemory, memory);
      const Filter filter = filter_of(query);
      records =
          query.all ? all_records(*impl_, query, filter) : computed_front(*impl_, query, filter);
    }
    for (Record& record : records) {
      if (latency) record.cost.latency = latency(record.widths);
      if (memory) record.cost.memory = memory(record.widths);
    }
    return records;
  });
}

}  // namespace mnm
