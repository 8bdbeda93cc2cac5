#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <string>

#include "cli/common_options.h"
#include "cli/options.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "db/store.h"
#include "model/error.h"
#include "model/files.h"
#include "report/page.h"
#include "study/evidence.h"
#include "study/store_rows.h"

namespace mnm {

int report_command(const Arguments& arguments) {
  std::filesystem::path db, out;
  std::string model, data;
  FrontQuery query;
  std::optional<std::int64_t> latency_id;
  bool force = false;
  OptionTable options("report",
                      "Writes one HTML page that shows what a store holds: the front of each model "
                      "and dataset with its errors, the best submodel within a budget, two "
                      "submodels compared example by example, and where the scores come from. It "
                      "needs no network.");
  options.section("which records")
      .option("db", required(path_value(db)), "the store")
      .option("model", text_value(model, "NAME"), "by id, name or fingerprint")
      .option("data", text_value(data, "NAME"),
              "by id, name, part (search, confirm) or fingerprint")
      .option("dtype", dtype_value(query.dtype), "of the arithmetic")
      .option("run", ids_value(query.runs, "RUN"), "of these runs alone")
      .section("front")
      .option("metric", metric_value(query.metric), "what is best")
      .option("cost", cost_kind_value(query.cost), "what it is traded against");
  add_latency_option(options, latency_id);
  options.section("output")
      .option("out", required(path_value(out)), "the page to write")
      .option("force", flag_value(force), "replace it if it is there");
  if (!options.parse(arguments)) return 0;
  require_apart(out, db);
  require_writable(out, force);

  const Store store = Store::open(db, Store::Mode::kRead);
  if (!model.empty()) query.model = model_named(store, model);
  if (!data.empty()) query.data = data_named(store, data, query.model);
  for (const std::int64_t run : query.runs) {
    if (!store.run(run)) fail_usage("{} has no run {}", db.string(), run);
  }
  std::optional<LatencyTable> latency;
  if (latency_id || counts_latency(query.cost, {})) {
    const auto models = store.models();
    if (!query.model && models.size() == 1) query.model = models.front().first;
    if (!query.model) fail_usage("a latency is of one model: name it with --model");
    const LatencyRow row = latency_named(store, *query.model, latency_id);
    note("{}\n", latency_text(row));
    latency.emplace(row.measured.parts);
    query.latency = &*latency;
  }
  const std::string page = evidence_page(evidence(store, query, db.string()));
  write_file_atomically(out, page);
  note("{}: {} bytes\n", out.string(), page.size());
  return 0;
}

}  // namespace mnm
