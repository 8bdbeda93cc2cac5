#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <tuple>

#include "cli/common_options.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "dataset/npy.h"
#include "db/store.h"
#include "model/error.h"
#include "model/files.h"
#include "report/svg.h"
#include "report/table.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  std::filesystem::path db;
  std::string model, data;
  FrontQuery query;
  std::optional<std::int64_t> latency_id;
  std::vector<std::string> budgets;
  std::filesystem::path svg, npy;
  bool force = false, json = false, csv = false;
};

std::string axis_of(CostKind kind) {
  switch (kind) {
    case CostKind::kParams:
      return "parameters";
    case CostKind::kNonEmbedding:
      return "parameters without embedding and head";
    case CostKind::kBytes:
      return "bytes of weights";
    case CostKind::kFlops:
      return "FLOPs per token, forward";
    case CostKind::kLatency:
      return "nanoseconds of a pass";
  }
  return "";
}

// Whether all layers have one width, and it is one of `trained` ("64,128,256,512").
bool is_uniform_granularity(const Widths& widths, const std::string& trained) {
  const std::string listed = fmt::format(",{},", trained);
  return is_uniform(widths) &&
         listed.find(fmt::format(",{},", widths.front())) != std::string::npos;
}

// What the store knows of the data that records were scored on.
class DataOf {
 public:
  explicit DataOf(const Store& store) : rows_(store.datasets()), uses_(store.data_uses()) {}

  const DataRow& row(const Record& record) const {
    for (const auto& [id, row] : rows_) {
      if (id == record.data) return row;
    }
    fail("a record names data {}, which the store does not hold", record.data);
  }
  std::string part(const Record& record) const { return part_of(uses_, record.data, record.model); }
  std::string text(const Record& record) const { return data_text(row(record), part(record)); }

 private:
  std::vector<std::pair<std::int64_t, DataRow>> rows_;
  std::vector<DataUse> uses_;
};

Table record_table(const std::vector<Record>& records, const DataOf& data,
                   const FrontQuery& query) {
  const bool by_params = query.cost == CostKind::kParams;
  Table table{
      {{"record", "record"},
       {"model", "model"},
       {"data", "data", false},
       {"part", "part", false},
       {"dtype", "dtype", false, false, false},
       {"widths", "widths", false},
       {"params", "parameters"},
       {"non_embedding", "non-embedding", true, false, query.cost == CostKind::kNonEmbedding},
       {"bytes", "bytes", true, false, query.cost == CostKind::kBytes},
       {"flops", "FLOPs/token", true, false, query.cost == CostKind::kFlops || by_params},
       {"context", "at context", true, false, query.cost == CostKind::kFlops},
       {"latency", "latency", true, false, query.latency != nullptr},
       {"status", "status", false, false, query.all},
       {"sequences", "sequences", true, false, false}},
      {}};
  for (const MetricRow& row : metric_table()) {
    const bool shown = row.metric == Metric::kLoss || row.metric == query.metric;
    table.columns.push_back({std::string(row.name), std::string(row.title), true, true, shown});
  }
  for (const Record& record : records) {
    const DataRow& row = data.row(record);
    table.rows.push_back(
        {cell(record.id), cell(record.model), cell(row.name), cell(data.part(record)),
         cell(std::string(to_string(record.dtype))), cell(to_string(record.widths)),
         quantity_cell(record.cost.params), quantity_cell(record.cost.non_embedding),
         quantity_cell(record.cost.bytes), quantity_cell(record.cost.flops), cell(row.context),
         query.latency == nullptr ? missing_cell() : cost_cell(CostKind::kLatency, record.cost),
         cell(std::string(record.status())), cell(record.samples)});
    for (const MetricRow& metric : metric_table()) {
      table.rows.back().push_back(score_cell(record, metric.metric));
    }
  }
  return table;
}

// UsageError unless all were scored with one model, on one dataset, in one dtype.
void require_one_group(const std::vector<Record>& records, const DataOf& data,
                       std::string_view what) {
  if (records.empty()) fail_usage("there is nothing to put into {}: no record matches", what);
  const Record& first = records.front();
  for (const Record& record : records) {
    if (std::tie(record.model, record.data, record.dtype) ==
        std::tie(first.model, first.data, first.dtype)) {
      continue;
    }
    fail_usage(
        "{} shows records that can be compared, but these are of model {}, {} in {} and of model "
        "{}, {} in {}: choose with --model, --data and --dtype",
        what, first.model, data.text(first), to_string(first.dtype), record.model,
        data.text(record), to_string(record.dtype));
  }
}

void write_svg(const std::filesystem::path& path, const Store& store, const FrontQuery& query,
               const std::vector<Record>& front, const DataOf& data) {
  FrontQuery wide = query;
  wide.all = true;
  wide.budgets.clear();
  const std::vector<Record> all = store.front(wide);
  require_one_group(all, data, "the picture");

  const Record& first = all.front();
  FrontPlot plot;
  std::string name, trained;
  for (const auto& [id, row] : store.models()) {
    if (id != first.model) continue;
    name = fmt::format("{} ({})", row.name, row.family);
    trained = row.granularities;
  }
  plot.title = fmt::format("Submodels of {}", name);
  plot.cost_axis = axis_of(query.cost);
  plot.loss_axis = row_of(query.metric).unit;
  double error = std::numeric_limits<double>::quiet_NaN();  // the largest; NaN: none is known
  const auto add = [&](std::vector<PlotPoint>& points, const Record& record, std::string label) {
    if (!record.ok(query.metric)) return;
    const std::optional<Measured>& value = record[query.metric];
    error = std::fmax(error, value->standard_error);
    points.push_back(
        {static_cast<double>(record.cost.of(query.cost)), value->value, std::move(label)});
  };
  const auto described = [&](const Record& record) {
    const std::optional<Measured>& value = record[query.metric];
    return fmt::format("{}: {}, {}", to_string(record.widths),
                       value_text(query.cost, record.cost.of(query.cost)),
                       record.ok(query.metric) ? measured_text(value->value, value->standard_error)
                                               : std::string(record.status(query.metric)));
  };
  for (const Record& record : all) add(plot.all, record, "");
  for (const Record& record : front) add(plot.front, record, described(record));
  for (const Record& record : all) {
    if (is_uniform_granularity(record.widths, trained)) {
      add(plot.uniform, record, fmt::format("uniform {}", record.widths.front()));
    }
  }
  for (const auto& [kind, limit] : query.budgets) {
    if (kind != query.cost) continue;
    plot.budgets.emplace_back(static_cast<double>(limit),
                              fmt::format("budget {}", value_text(kind, limit)));
  }
  plot.subtitle = fmt::format(
      "on {}, in {}; {}", data.text(first), to_string(first.dtype),
      std::isnan(error)
          ? "standard errors unknown"
          : fmt::format("standard error of a point up to {:.2g}, of differences far less", error));
  write_file_atomically(path, front_svg(plot));
}

// float32 scores by ascending widths, compared layer by layer; NaN where a submodel failed.
std::size_t write_npy(const std::filesystem::path& path, const Store& store,
                      const FrontQuery& query, const DataOf& data) {
  FrontQuery all = query;
  all.all = true;
  std::vector<Record> records = store.front(all);
  require_one_group(records, data, "the array");
  std::ranges::sort(records, {}, &Record::widths);
  std::vector<float> values;
  for (const Record& record : records) {
    values.push_back(record.ok(query.metric) ? static_cast<float>(record.value(query.metric))
                                             : std::numeric_limits<float>::quiet_NaN());
  }
  write_file_atomically(path, npy_f32(values));
  return values.size();
}

OptionTable option_table(Request& request) {
  auto& [db, model, data, query, latency_id, budgets, svg, npy, force, json, csv] = request;
  OptionTable options("pareto",
                      "Prints the front of a store's records, by ascending cost. A record is on "
                      "the front if no other is at least as good in both cost and score and better "
                      "in one of them. Records of different models, data or dtypes are never "
                      "compared: each such group has a front of its own.");
  options.section("which records")
      .option("db", required(path_value(db)), "the store")
      .option("model", text_value(model, "NAME"), "only of this model: id, name or fingerprint")
      .option("data", text_value(data, "NAME"),
              "only on these data: id, name, part (search, confirm) or fingerprint")
      .option("dtype", dtype_value(query.dtype), "only with arithmetic in this type")
      .option("run", ids_value(query.runs, "RUN"), "only records of this run")
      .option("all", flag_value(query.all), "every record, not only the front")
      .section("front")
      .option("metric", metric_value(query.metric), "the score that is compared")
      .option("cost", cost_kind_value(query.cost), "the cost that is compared");
  add_latency_option(options, latency_id);
  options.option("min-cost", quantity_value(query.min_cost, "N"), "the least --cost")
      .option("max-cost", quantity_value(query.max_cost, "N"), "the largest --cost")
      .option("budget", texts_value(budgets, "LIMIT"), kBudgetHelp)
      .section("output")
      .option("svg", path_value(svg), "also draw all records, the front and the uniform submodels")
      .option("npy", path_value(npy),
              "also write the scores of all records, by ascending widths, as a float32 array")
      .option("force", flag_value(force), "replace files that exist");
  add_output_options(options, json, csv);
  return options;
}

void require_outputs(const Request& request) {
  const std::filesystem::path outputs[] = {request.svg, request.npy};
  require_distinct(outputs);
  for (const auto& path : outputs) {
    if (path.empty()) continue;
    require_apart(path, request.db);
    require_writable(path, request.force);
  }
}

// What the user's names mean in this store.
void resolve(Request& request, const Store& store) {
  FrontQuery& query = request.query;
  if (!request.model.empty()) query.model = model_named(store, request.model);
  if (!request.data.empty()) query.data = data_named(store, request.data, query.model);
  for (const std::int64_t run : query.runs) {
    if (!store.run(run)) fail_usage("{} has no run {}", request.db.string(), run);
  }
  query.budgets = parse_budgets(request.budgets, request.query.cost);
}

// What latency is counted by, where it is asked for.
std::optional<LatencyTable> latency_of(Request& request, const Store& store) {
  FrontQuery& query = request.query;
  if (!request.latency_id && !counts_latency(query.cost, query.budgets)) return std::nullopt;
  const auto models = store.models();
  if (!query.model && models.size() == 1) query.model = models.front().first;
  if (!query.model) fail_usage("a latency is of one model: name it with --model");
  const LatencyRow row = latency_named(store, *query.model, request.latency_id);
  note("{}\n", latency_text(row));
  return LatencyTable(row.measured.parts);
}

}  // namespace

int pareto_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  require_outputs(request);
  const Store store = Store::open(request.db, Store::Mode::kRead);
  resolve(request, store);
  const std::optional<LatencyTable> latency = latency_of(request, store);
  FrontQuery& query = request.query;
  if (latency) query.latency = &*latency;

  const DataOf data_of(store);
  const std::vector<Record> records = store.front(query);
  if (records.empty() && !query.budgets.empty()) require_something_within(store, query);
  const Table table = record_table(records, data_of, query);
  if (!request.svg.empty()) {
    FrontQuery front = query;
    front.all = false;
    write_svg(request.svg, store, query, query.all ? store.front(front) : records, data_of);
  }
  if (!request.npy.empty()) {
    const std::size_t count = write_npy(request.npy, store, query, data_of);
    note("{}: {} scores by ascending widths\n", request.npy.string(), count);
  }
  print_table(table, output);
  return 0;
}

}  // namespace mnm
