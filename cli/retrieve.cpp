#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "cli/common_options.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "cli/retrieval_options.h"
#include "dataset/feature_file.h"
#include "engine/engine.h"
#include "eval/metrics.h"
#include "eval/paired.h"
#include "eval/retrieval_scores.h"
#include "eval/standard_error.h"
#include "report/table.h"
#include "study/score_cells.h"

namespace mnm {
namespace {

struct Request {
  std::vector<std::string> queries;
  std::filesystem::path database, shortlist;
  NearnessOptions nearness;
  DeviceOptions device;
  bool force = false, json = false, csv = false;
};

OptionTable option_table(Request& request) {
  OptionTable options(
      "retrieve",
      "Searches vectors, as 'features' writes them, in a database of vectors, exactly, and says "
      "how "
      "often the nearest items are of the query's class: 1-NN accuracy, mAP, precision and recall, "
      "each with its standard error over the queries. Of several files of queries, such as those "
      "of one set by several submodels, it prints the paired difference to the first.");
  options
      .argument("QUERIES", required(texts_value(request.queries, "")),
                "names of files: NAME-X.npy and NAME-y.npy")
      .option("database", required(path_value(request.database, "NAME")),
              "the files that are searched");
  add_nearness_options(options, request.nearness);
  options.option("shortlist", path_value(request.shortlist),
                 "write the numbers of the nearest items to a new file, a line of CSV for each "
                 "query of the one file");
  options.section("device")
      .option("device", text_value(request.device.device, "DEVICE"), "cpu, cuda or cuda:N")
      .option("threads", threads_value(request.device.threads), "CPU threads; 0: one per core");
  options.section("output").option("force", flag_value(request.force),
                                   "replace a shortlist that exists");
  add_output_options(options, request.json, request.csv);
  return options;
}

// 1-NN accuracy, mAP, precision and recall, of each query.
using Values = std::array<std::vector<float>, 4>;

void write_shortlist(const std::filesystem::path& path, std::span<const std::int32_t> nearest,
                     std::size_t depth) {
  std::string text;
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    text += std::to_string(nearest[i]);
    text += (i + 1) % depth == 0 ? '\n' : ',';
  }
  write_file_atomically(path, text);
}

Values search(const Request& request, const FeatureDatabase& database, const std::string& name) {
  const Features queries = read_features(name);
  if (queries.dimension != database.dimension()) {
    fail("cannot search {} in {}: its vectors have {} numbers, and those of the database {}", name,
         request.database.string(), queries.dimension, database.dimension());
  }
  const auto start = std::chrono::steady_clock::now();
  const std::vector<std::int32_t> nearest =
      open_engine(request.device.device).nearest(database, queries.vectors, request.device);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  note("{}: {} queries in {} vectors of {} numbers, {:.2f} s\n", name, queries.count(),
       database.count(), database.dimension(), seconds);
  const auto depth = static_cast<std::size_t>(request.nearness.depth);
  Values values;
  for (std::size_t i = 0; i < queries.labels.size(); ++i) {
    const std::span<const std::int32_t> found = std::span(nearest).subspan(i * depth, depth);
    if (found.front() < 0) fail("cannot search query {} of {}: it is not finite", i, name);
    const RetrievalScores scores = retrieval_scores(database, found, queries.labels[i]);
    values[0].push_back(scores.nearest);
    values[1].push_back(scores.average_precision);
    values[2].push_back(scores.precision);
    values[3].push_back(scores.recall);
  }
  if (!request.shortlist.empty()) write_shortlist(request.shortlist, nearest, depth);
  return values;
}

Table table_of(const Request& request, const std::vector<Values>& all) {
  const bool several = all.size() > 1;
  Table table{{{"queries", "queries", false}}, {}};
  for (const MetricRow& row : metric_table()) {
    if (!row.needs_database) continue;
    std::string title(row.title);
    if (title.ends_with("@k"))
      title.replace(title.size() - 1, 1, std::to_string(request.nearness.depth));
    table.columns.push_back({std::string(row.name), title, true, true});
  }
  table.columns.push_back({"difference", "1-NN - first's, paired", true, true, several});
  table.columns.push_back({"z", "in SE", true, false, several});
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<Cell> row = {cell(request.queries[i])};
    for (const std::vector<float>& values : all[i]) {
      const Estimate estimate = mean_of(values);
      row.push_back(measured_cell(estimate.value, estimate.standard_error));
    }
    const bool paired = i > 0 && all[i][0].size() == all[0][0].size();
    add_difference(row,
                   paired ? std::optional(paired_difference(all[i][0], all[0][0])) : std::nullopt);
    table.rows.push_back(std::move(row));
  }
  return table;
}

void require_outputs(const Request& request) {
  if (request.shortlist.empty()) return;
  if (request.queries.size() > 1) {
    fail_usage("retrieve: --shortlist is of one file of queries, and there are {}",
               request.queries.size());
  }
  const std::filesystem::path inputs[] = {request.database, request.queries.front()};
  for (const std::filesystem::path& name : inputs) {
    require_apart(request.shortlist, vectors_file(name));
    require_apart(request.shortlist, labels_file(name));
  }
  require_writable(request.shortlist, request.force, shortlist_kind());
}

}  // namespace

int retrieve_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  require_outputs(request);
  const FeatureDatabase database(read_features(request.database), request.nearness.near(),
                                 request.nearness.depth);
  std::vector<Values> all;
  for (const std::string& name : request.queries) all.push_back(search(request, database, name));
  print_table(table_of(request, all), output);
  return 0;
}

}  // namespace mnm
