#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "cli/common_options.h"
#include "cli/front_options.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "dataset/npy.h"
#include "db/store.h"
#include "model/example_words.h"
#include "report/escape.h"
#include "report/svg.h"
#include "report/table.h"
#include "study/front_statistics.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  FrontOptions front;
  std::filesystem::path svg, npy;
  bool distinct = false, force = false, json = false, csv = false;
};

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

// Calls use(records, first index) for each model, dataset and dtype among records in that order.
template <typename Use>
void for_each_group(std::span<const Record> records, const Use& use) {
  const auto key = [](const Record& record) {
    return std::tuple(record.model, record.data, record.dtype);
  };
  for (std::size_t first = 0; first < records.size();) {
    std::size_t end = first + 1;
    while (end < records.size() && key(records[end]) == key(records[first])) ++end;
    use(records.subspan(first, end - first), first);
    first = end;
  }
}

// Leaves the members that are distinguishable from each other.
std::vector<Record> distinct_of(const Store& store, const std::vector<Record>& front,
                                Metric metric) {
  std::vector<Record> kept;
  for_each_group(front, [&](std::span<const Record> group, std::size_t) {
    for (const std::size_t i : distinct_members(store, group, metric)) kept.push_back(group[i]);
  });
  return kept;
}

// Of each member, the corrected p of no difference to the one before it.
std::vector<double> neighbours_of(const Store& store, const std::vector<Record>& front,
                                  Metric metric) {
  std::vector<double> p;
  for_each_group(front, [&](std::span<const Record> group, std::size_t) {
    const std::vector<double> of_group = neighbour_p(store, group, metric);
    p.insert(p.end(), of_group.begin(), of_group.end());
  });
  return p;
}

std::string comparison_text(std::string_view what, const std::optional<Comparison>& compared) {
  if (!compared) return "";
  return fmt::format("\n  better than the {}, record {} ({}), with probability {}", what,
                     compared->other.id, to_string(compared->other.widths),
                     compared->probability ? fmt::format("{:.4f}", *compared->probability)
                                           : "unknown: values per example are not kept");
}

// Says how sure the best of each group within the budgets is, and what of its score was luck.
void note_best(const Store& store, const FrontQuery& query, const DataOf& data) {
  FrontQuery wide = query;
  wide.all = true;
  const std::vector<Record> records = store.front(wide);
  const auto models = store.models();
  for_each_group(records, [&](std::span<const Record> group, std::size_t) {
    const auto model = std::ranges::find_if(
        models, [&](const auto& entry) { return entry.first == group.front().model; });
    const std::string trained = model == models.end() ? "" : model->second.granularities;
    const auto found = best_within(store, group, trained, query.metric, query.cost);
    if (!found) return;
    const Record& best = found->best;
    const bool chosen_there = data.part(best) != "confirm" && found->runner_up;
    std::string text =
        fmt::format("best on {}: record {} ({}){}{}{}", printable(data.text(best)), best.id,
                    to_string(best.widths), comparison_text("runner-up", found->runner_up),
                    comparison_text("best uniform one", found->best_uniform),
                    chosen_there ? "\n  by the scores that chose it, which flatter it" : "");
    const auto uniform =
        found->best_uniform ? std::optional(found->best_uniform->other) : std::nullopt;
    if (const auto bias = winners_bias(store, best, uniform, query.metric)) {
      text += fmt::format("\n  winner's bias, search minus confirm: {}",
                          measured_text(bias->difference.value, bias->difference.standard_error));
      if (bias->of_lead) {
        text += fmt::format("; of its lead on the best uniform one: {}",
                            measured_text(bias->of_lead->value, bias->of_lead->standard_error));
      }
      text += comparison_text("best uniform one on the confirm part", bias->confirmed_lead);
    }
    note("{}\n", Lines{text});
  });
}

// Says why a front is empty although there are records.
void note_failures(const Store& store, FrontQuery query) {
  query.all = true;
  const std::size_t count = store.front(query).size();
  if (count == 0) return;
  note("the {} of no record is a number ({} of them), so there is no front: --all shows them\n",
       to_string(query.metric), count);
}

// `p`: of neighbours_of; empty where all records, or only distinct ones, are shown.
Table record_table(const std::vector<Record>& records, const DataOf& data, const FrontQuery& query,
                   const std::vector<double>& p) {
  const bool by_params = query.cost == CostKind::kParams;
  const ExampleWords& words = words_of(records.empty() ? "" : data.row(records.front()).kind);
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
       {"flops", in_words("FLOPs/token", words), true, false,
        query.cost == CostKind::kFlops || by_params},
       {"context", "at context", true, false, query.cost == CostKind::kFlops},
       {"memory", "memory", true, false, query.memory != nullptr},
       {"latency", "latency", true, false, query.latency != nullptr},
       {"status", "status", false, false, query.all},
       {"sequences", in_words("sequences", words), true, false, false}},
      {}};
  for (const MetricRow& row : metric_table()) {
    const bool shown = row.metric == Metric::kLoss || row.metric == query.metric;
    table.columns.push_back({std::string(row.name), in_words(row.title, words), true, true, shown});
  }
  table.columns.push_back({"p_neighbour", "p of neighbour", true, false, false});
  table.columns.push_back({"distinguishable", "distinguishable", false, false, !p.empty()});
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Record& record = records[i];
    const DataRow& row = data.row(record);
    table.rows.push_back(
        {cell(record.id), cell(record.model), cell(row.name), cell(data.part(record)),
         cell(std::string(to_string(record.dtype))), cell(to_string(record.widths)),
         quantity_cell(record.cost.params), quantity_cell(record.cost.non_embedding),
         quantity_cell(record.cost.bytes), quantity_cell(record.cost.flops), cell(row.context),
         query.memory == nullptr ? missing_cell() : cost_cell(CostKind::kMemory, record.cost),
         query.latency == nullptr ? missing_cell() : cost_cell(CostKind::kLatency, record.cost),
         cell(std::string(record.status())), cell(record.samples)});
    for (const MetricRow& metric : metric_table()) {
      table.rows.back().push_back(score_cell(record, metric.metric));
    }
    const bool tested = i < p.size() && !std::isnan(p[i]);
    table.rows.back().push_back(tested ? real_cell(p[i], 4) : missing_cell());
    table.rows.back().push_back(tested ? cell(std::string(p[i] <= kAlpha ? "yes" : "no"))
                                       : missing_cell());
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
  const ExampleWords& words = words_of(data.row(first).kind);
  plot.cost_axis = in_words(cost_axis(query.cost), words);
  plot.loss_axis = in_words(row_of(query.metric).unit, words);
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
  auto& [front, svg, npy, distinct, force, json, csv] = request;
  FrontQuery& query = front.query;
  OptionTable options("pareto",
                      "Prints the front of a store's records, by ascending cost. A record is on "
                      "the front if no other is at least as good in both cost and score and better "
                      "in one of them. Records of different models, data or dtypes are never "
                      "compared: each such group has a front of its own.");
  add_record_options(options, front);
  options.option("all", flag_value(query.all), "every record, not only the front")
      .section("front")
      .option("distinct", flag_value(distinct),
              "only members whose difference to the one before is more than chance: paired t tests "
              "at 0.05, corrected by Holm's method for all pairs of members")
      .option("metric", metric_value(query.metric), "the score that is compared")
      .option("cost", cost_kind_value(query.cost), "the cost that is compared");
  add_latency_option(options, front.latency_id);
  add_cache_options(options, front.cache, "none is assumed");
  options.option("min-cost", quantity_value(query.min_cost, "N"), "the least --cost")
      .option("max-cost", quantity_value(query.max_cost, "N"), "the largest --cost")
      .option("budget", texts_value(front.budgets, "LIMIT"), kBudgetHelp)
      .section("output")
      .option("svg", path_value(svg), "also draw all records, the front and the uniform submodels")
      .option("npy", path_value(npy),
              "also write the scores of all records, by ascending widths, as a float32 array")
      .option("force", flag_value(force), "replace earlier ones of such files");
  add_output_options(options, json, csv);
  return options;
}

void require_outputs(const Request& request) {
  const std::filesystem::path outputs[] = {request.svg, request.npy};
  const OutputKind kinds[] = {picture_kind(), scores_kind()};
  require_distinct(outputs);
  for (std::size_t i = 0; i < std::size(outputs); ++i) {
    if (outputs[i].empty()) continue;
    require_apart(outputs[i], request.front.db);
    require_writable(outputs[i], request.force, kinds[i]);
  }
}

}  // namespace

int pareto_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  if (request.distinct && request.front.query.all) {
    fail_usage("--distinct is of the front, and --all shows every record");
  }
  const OutputFormat output = output_format(request.json, request.csv);
  require_outputs(request);
  const Store store = Store::open(request.front.db, Store::Mode::kRead);
  resolve(request.front, store);
  const std::optional<LatencyTable> latency = latency_of(request.front, store);
  FrontQuery& query = request.front.query;
  if (latency) query.latency = &*latency;
  const std::unique_ptr<const MemoryCosts> memory = memory_of(request.front, store);
  if (memory) query.memory = &memory->costs;

  const DataOf data_of(store);
  std::vector<Record> records = store.front(query);
  if (records.empty() && !query.budgets.empty()) require_something_within(store, query);
  if (request.distinct) records = distinct_of(store, records, query.metric);
  if (records.empty() && !query.all) note_failures(store, query);
  // What is left of --distinct was chosen by tests of all pairs: others would contradict them.
  const std::vector<double> p = query.all || request.distinct
                                    ? std::vector<double>{}
                                    : neighbours_of(store, records, query.metric);
  const Table table = record_table(records, data_of, query, p);
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
  if (!query.budgets.empty()) note_best(store, query, data_of);
  return 0;
}

}  // namespace mnm
