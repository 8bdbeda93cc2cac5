#include "cli/front_options.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "cli/common_options.h"
#include "cli/print.h"
#include "families/open_model.h"
#include "search/budget.h"
#include "study/store_rows.h"

namespace mnm {

void add_record_options(OptionTable& options, FrontOptions& front) {
  options.section("which records")
      .option("db", required(path_value(front.db)), "the store")
      .option("model", text_value(front.model, "NAME"),
              "only of this model: id, name or fingerprint")
      .option("data", text_value(front.data, "NAME"),
              "only on these data: id, name, part (search, confirm) or fingerprint")
      .option("dtype", dtype_value(front.query.dtype), "only with arithmetic in this type")
      .option("run", ids_value(front.query.runs, "RUN"), "only records of this run");
}

void resolve(FrontOptions& front, const Store& store) {
  FrontQuery& query = front.query;
  if (!front.model.empty()) query.model = model_named(store, front.model);
  if (!front.data.empty()) query.data = data_named(store, front.data, query.model);
  for (const std::int64_t run : query.runs) {
    if (!store.run(run)) fail_usage("{} has no run {}", front.db.string(), run);
  }
  query.budgets = parse_budgets(front.budgets, query.cost);
}

namespace {

// The one model of the store, unless the user named one.
void choose_model(FrontQuery& query, const Store& store, std::string_view what) {
  const auto models = store.models();
  if (!query.model && models.size() == 1) query.model = models.front().first;
  if (!query.model) fail_usage("{} is of one model: name it with --model", what);
}

}  // namespace

std::optional<LatencyTable> latency_of(FrontOptions& front, const Store& store) {
  FrontQuery& query = front.query;
  if (!front.latency_id && !counts(CostKind::kLatency, query.cost, query.budgets)) {
    return std::nullopt;
  }
  choose_model(query, store, "a latency");
  const LatencyRow row = latency_named(store, *query.model, front.latency_id);
  note("{}\n", latency_text(row));
  return LatencyTable(row.measured.parts);
}

MemoryCosts::MemoryCosts(NestedModel described, const CacheLoad& cache)
    : model(std::move(described)), costs(model, {model.dtype, kDefaultContext, cache}) {}

std::unique_ptr<const MemoryCosts> memory_of(FrontOptions& front, const Store& store) {
  FrontQuery& query = front.query;
  if (!counts(CostKind::kMemory, query.cost, query.budgets)) return nullptr;
  if (front.cache.context == 0) {
    fail_usage("memory counts the caches of sequences: say how long they are with --cache-context");
  }
  choose_model(query, store, "memory");
  for (const auto& [id, row] : store.models()) {
    if (id != query.model) continue;
    const std::string where = fmt::format("the config of {} in {}", row.name, front.db.string());
    auto costs = std::make_unique<MemoryCosts>(
        describe_model(parse_json(row.config, where), {}, where).model, front.cache);
    note("costs are {}\n", cost_text(CostKind::kMemory, costs->costs.basis()));
    return costs;
  }
  fail("{} has no model {}", front.db.string(), *query.model);
}

}  // namespace mnm
