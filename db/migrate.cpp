#include "db/migrate.h"

#include <string>
#include <string_view>

#include "base/error.h"
#include "db/latency_fronts.h"

namespace mnm {

extern const std::string_view kSchema;  // db/schema.sql

namespace {

// What version 5 defines in another way. Their rows are copied into the new tables.
constexpr std::string_view kRedefined[] = {"record", "losses", "front", "latency_member"};

bool has_table(sqlite::Connection& store, std::string_view name) {
  return store.integer(fmt::format(
             "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '{}'", name)) > 0;
}

// Before version 5 the runs of one search were those with the same settings, which name a session.
constexpr const char* kSessions = R"(
ALTER TABLE run ADD COLUMN session INTEGER REFERENCES run;
UPDATE run SET session = first
FROM (SELECT settings AS same, min(id) AS first FROM run
      WHERE settings LIKE '{"session":%' GROUP BY settings)
WHERE settings = same AND id > first;
)";

constexpr const char* kRecords = R"(
INSERT INTO record
SELECT id, run, model, data, dtype, widths, samples, params, non_embedding, bytes, flops, kv_bytes,
       state_bytes
FROM old_record ORDER BY id;
INSERT INTO score SELECT 'agreement', id, 'ok', agreement, agreement_se
FROM old_record WHERE agreement IS NOT NULL ORDER BY id;
INSERT INTO score SELECT 'kl', id, 'ok', kl, kl_se FROM old_record WHERE kl IS NOT NULL ORDER BY id;
INSERT INTO score SELECT 'loss', id, status, loss, loss_se FROM old_record ORDER BY id;
INSERT INTO example_scores SELECT record, 'loss', f32 FROM old_losses ORDER BY record;
INSERT INTO front SELECT id, model, data, dtype, metric, cost_kind FROM old_front ORDER BY id;
)";

constexpr const char* kLatencyMembers = R"(
INSERT INTO latency_member
SELECT latency, data, dtype, metric, cost, objective, record FROM old_latency_member;
)";

}  // namespace

void upgrade(sqlite::Connection& store, std::int64_t from) {
  if (from == 5) {  // version 6 added a table, and changed none
    store.execute(std::string(kSchema));
    return;
  }
  store.execute(
      "DROP VIEW IF EXISTS pareto; DROP TRIGGER IF EXISTS record_stays; "
      "DROP TRIGGER IF EXISTS record_is_kept; "
      "ALTER TABLE data ADD COLUMN kind TEXT NOT NULL DEFAULT 'tokens'");
  store.execute(kSessions);
  const bool has_latency_members = has_table(store, "latency_member");
  for (const std::string_view table : kRedefined) {
    if (has_table(store, table)) {
      store.execute(fmt::format("ALTER TABLE {0} RENAME TO old_{0}", table));
    }
  }
  store.execute(std::string(kSchema));
  store.execute(kRecords);
  if (has_latency_members) store.execute(kLatencyMembers);
  for (const std::string_view table : kRedefined) {
    store.execute(fmt::format("DROP TABLE IF EXISTS old_{}", table));
  }
  if (from < 4) LatencyFronts(store).add_all();  // version 4 added them
}

}  // namespace mnm
