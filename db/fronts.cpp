#include "db/fronts.h"

#include <cmath>
#include <iterator>

namespace mnm {

std::string_view column_of(CostKind kind) {
  return kind == CostKind::kNonEmbedding ? "non_embedding" : to_string(kind);
}

void Fronts::begin() {
  sqlite::Statement& version = prepare_("PRAGMA data_version");
  version.step();
  if (version.integer(0) != version_) forget();
  version_ = version.integer(0);
  version.reset();
}

Fronts::Group& Fronts::group_of(const Record& record, Metric metric) {
  const auto [found, is_new] =
      groups_.try_emplace({record.model, record.data, record.dtype, metric});
  Group& group = found->second;
  if (!is_new) return group;
  const std::string_view dtype = to_string(record.dtype), name = to_string(metric);
  for (std::size_t k = 0; k < std::size(kExactCosts); ++k) {
    const std::string_view kind = to_string(kExactCosts[k]);
    prepare_(
        "INSERT INTO front (model, data, dtype, metric, cost_kind) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING")
        .bind(record.model, record.data, dtype, name, kind)
        .run();
    sqlite::Statement& id = prepare_(
        "SELECT id FROM front WHERE model = ? AND data = ? AND dtype = ? AND metric = ? "
        "AND cost_kind = ?");
    id.bind(record.model, record.data, dtype, name, kind).step();
    Front& front = group[k];
    front.id = id.integer(0);
    id.reset();
    sqlite::Statement& members =
        prepare_("SELECT cost, objective, record FROM member WHERE front = ? ORDER BY cost");
    members.bind(front.id);
    while (members.step()) {
      front.members.load(members.integer(0), members.real(1), members.integer(2));
    }
    members.reset();
  }
  return group;
}

void Fronts::offer(const Record& record, Metric metric) {
  const double objective = objective_of(metric, record.value(metric));
  if (std::isnan(objective)) return;
  Group& group = group_of(record, metric);
  for (std::size_t k = 0; k < std::size(kExactCosts); ++k) {
    offer(group[k], record.cost.of(kExactCosts[k]), objective, record.id);
  }
}

void Fronts::offer(Front& front, std::int64_t cost, double objective, std::int64_t record) {
  const auto entry = front.members.offer(cost, objective, record);
  if (!entry) return;
  if (entry->beaten) {
    prepare_("DELETE FROM member WHERE front = ? AND cost BETWEEN ? AND ?")
        .bind(front.id, entry->beaten->first, entry->beaten->second)
        .run();
  }
  prepare_("INSERT INTO member (front, cost, objective, record) VALUES (?, ?, ?, ?)")
      .bind(front.id, cost, objective, record)
      .run();
}

}  // namespace mnm
