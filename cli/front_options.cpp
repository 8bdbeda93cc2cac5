#include "cli/front_options.h"

#include "base/error.h"
#include "cli/common_options.h"
#include "cli/print.h"
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

std::optional<LatencyTable> latency_of(FrontOptions& front, const Store& store) {
  FrontQuery& query = front.query;
  if (!front.latency_id && !counts_latency(query.cost, query.budgets)) return std::nullopt;
  const auto models = store.models();
  if (!query.model && models.size() == 1) query.model = models.front().first;
  if (!query.model) fail_usage("a latency is of one model: name it with --model");
  const LatencyRow row = latency_named(store, *query.model, front.latency_id);
  note("{}\n", latency_text(row));
  return LatencyTable(row.measured.parts);
}

}  // namespace mnm
