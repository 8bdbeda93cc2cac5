#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "base/error.h"
#include "base/quantity.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/print.h"
#include "db/store.h"
#include "model/example_words.h"
#include "report/table.h"
#include "study/score_cells.h"
#include "study/store_rows.h"

namespace mnm {
namespace {

struct Request {
  std::string a_word, b_word;
  std::filesystem::path db;
  std::string model, data;
  FrontQuery query;
  bool json = false, csv = false;
};

using Group = std::tuple<std::int64_t, std::int64_t, Dtype>;  // model, data, dtype

Group group_of(const Record& record) { return {record.model, record.data, record.dtype}; }

std::string cost_text(const Record& record, const ExampleWords& words) {
  const auto text = [&](CostKind kind) {
    return quantity(static_cast<double>(record.cost.of(kind)));
  };
  return fmt::format("{} parameters, {}B, {}{}", text(CostKind::kParams), text(CostKind::kBytes),
                     text(CostKind::kFlops), in_words("FLOPs per token", words));
}

const ExampleWords& words_of_data(const Store& store, std::int64_t data) {
  for (const auto& [id, row] : store.datasets()) {
    if (id == data) return words_of(row.kind);
  }
  return words_of(InputType::kTokenIds);
}

OptionTable option_table(Request& request) {
  auto& [a_word, b_word, db, model, data, query, json, csv] = request;
  OptionTable options(
      "compare",
      "Compares two scored submodels from the store alone. It prints the mean difference of their "
      "losses, or of another metric, on the same sequences. Its standard error is far smaller than "
      "that of either loss. There is one line for each dataset that both were scored on.");
  options
      .argument("A", required(text_value(a_word, "")),
                "a record's number, or widths such as 512x4,256x4")
      .argument("B", required(text_value(b_word, "")), "the record or widths to compare A with")
      .section("which records")
      .option("db", required(path_value(db)), "the store")
      .option("model", text_value(model, "NAME"), "only of this model: id, name or fingerprint")
      .option("data", text_value(data, "NAME"),
              "only on these data: id, name, part (search, confirm) or fingerprint")
      .option("dtype", dtype_value(query.dtype), "only with arithmetic in this type")
      .option("metric", metric_value(query.metric), "the metric to compare")
      .section("output");
  add_output_options(options, json, csv);
  return options;
}

Table empty_table(Metric metric, const ExampleWords& words) {
  Table table{{{"model", "model"},
               {"data", "data", false},
               {"part", "part", false},
               {"dtype", "dtype", false},
               {"sequences", in_words("sequences", words)}},
              {}};
  for (const std::string side : {"A", "B"}) {
    const std::string key = side == "A" ? "a" : "b";
    const auto column = [&](const char* name, const std::string& title, bool number) {
      table.columns.push_back({fmt::format("{}_{}", key, name), fmt::format("{}: {}", side, title),
                               number, false, false});
    };
    column("record", "record", true);
    column("widths", "widths", false);
    column("params", "parameters", true);
    column("bytes", "bytes", true);
    column("flops", in_words("FLOPs/token", words), true);
    table.columns.push_back({fmt::format("{}_{}", key, to_string(metric)),
                             fmt::format("{} of {}", to_string(metric), side), true, true});
  }
  table.columns.push_back({"difference", "A - B, paired", true, true});
  table.columns.push_back({"z", "in SE"});
  return table;
}

void add_record(std::vector<Cell>& row, const Record& record, Metric metric) {
  row.insert(row.end(), {cell(record.id), cell(to_string(record.widths)),
                         quantity_cell(record.cost.params), quantity_cell(record.cost.bytes),
                         quantity_cell(record.cost.flops), score_cell(record, metric)});
}

// A line for each pair that was scored alike.
Table pair_table(const Store& store, const std::vector<Record>& a_records,
                 const std::vector<Record>& b_records, Metric metric, const ExampleWords& words) {
  Table table = empty_table(metric, words);
  const auto datasets = store.datasets();
  const std::vector<DataUse> uses = store.data_uses();
  for (const Record& a : a_records) {
    for (const Record& b : b_records) {
      if (group_of(a) != group_of(b)) continue;
      const auto row_of = std::ranges::find_if(
          datasets, [&](const auto& dataset) { return dataset.first == a.data; });
      if (row_of == datasets.end()) fail("record {} names data that the store does not hold", a.id);
      std::vector<Cell> row = {cell(a.model), cell(row_of->second.name),
                               cell(part_of(uses, a.data, a.model)),
                               cell(std::string(to_string(a.dtype))), cell(a.samples)};
      add_record(row, a, metric);
      add_record(row, b, metric);
      add_difference(row, stored_difference(store, a, b, metric));
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

}  // namespace

int compare_command(const Arguments& arguments) {
  Request request;
  request.query.all = true;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  FrontQuery& query = request.query;

  const Store store = Store::open(request.db, Store::Mode::kRead);
  if (!request.model.empty()) query.model = model_named(store, request.model);
  if (!request.data.empty()) query.data = data_named(store, request.data, query.model);
  const std::vector<Record> all = store.front(query);
  const std::vector<Record> a_records = records_named(store, all, request.a_word);
  const std::vector<Record> b_records = records_named(store, all, request.b_word);
  const Record &a = a_records.front(), &b = b_records.front();
  const ExampleWords& words = words_of_data(store, a.data);
  const Table table = pair_table(store, a_records, b_records, query.metric, words);
  if (table.rows.empty()) {
    fail_usage(
        "record {} ({}) and record {} ({}) were not scored with the same model, on the same data, "
        "in "
        "the same dtype, and no others of that name were: they cannot be compared",
        a.id, to_string(a.widths), b.id, to_string(b.widths));
  }
  if (output == OutputFormat::kText) {
    print("A  {}  {}\nB  {}  {}\n\n", to_string(a.widths), cost_text(a, words), to_string(b.widths),
          cost_text(b, words));
  }
  print_table(table, output);
  return 0;
}

}  // namespace mnm
