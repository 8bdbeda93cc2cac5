#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "cli/common_options.h"
#include "cli/front_options.h"
#include "cli/options.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "db/store.h"
#include "report/html.h"
#include "study/evidence.h"

namespace mnm {

int report_command(const Arguments& arguments) {
  FrontOptions front;
  FrontQuery& query = front.query;
  std::filesystem::path out;
  bool force = false;
  OptionTable options("report",
                      "Writes one HTML page that shows what a store holds: the front of each model "
                      "and dataset with its errors, the best submodel within a budget, two "
                      "submodels compared example by example, and where the scores come from. It "
                      "needs no network.");
  add_record_options(options, front);
  options.section("front")
      .option("metric", metric_value(query.metric), "the score that is compared")
      .option("cost", cost_kind_value(query.cost), "the cost that is compared");
  add_latency_option(options, front.latency_id);
  add_cache_options(options, front.cache, "none is assumed");
  options.section("output")
      .option("out", required(path_value(out)), "the page to write")
      .option("force", flag_value(force), "replace an earlier page of this command");
  if (!options.parse(arguments)) return 0;
  require_apart(out, front.db);
  require_writable(out, force, evidence_page_kind());

  const Store store = Store::open(front.db, Store::Mode::kRead);
  resolve(front, store);
  const std::optional<LatencyTable> latency = latency_of(front, store);
  if (latency) query.latency = &*latency;
  const std::unique_ptr<const MemoryCosts> memory = memory_of(front, store);
  if (memory) query.memory = &memory->costs;
  const std::string page = evidence_page(evidence(store, query, front.db.string()));
  write_file_atomically(out, page);
  note("{}: {} bytes\n", out.string(), page.size());
  return 0;
}

}  // namespace mnm
