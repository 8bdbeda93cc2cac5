#include "cli/output.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "cli/print.h"
#include "report/escape.h"

namespace mnm {

void add_output_options(OptionTable& options, bool& json, bool& csv) {
  options.option("json", flag_value(json), "results as JSON")
      .option("csv", flag_value(csv), "results as CSV");
}

OutputFormat output_format(bool json, bool csv) {
  if (json && csv) fail_usage("--json and --csv exclude each other");
  return json ? OutputFormat::kJson : csv ? OutputFormat::kCsv : OutputFormat::kText;
}

void print_table(const Table& table, OutputFormat format) {
  switch (format) {
    case OutputFormat::kText:
      print("{}", Lines{table.text()});
      break;
    case OutputFormat::kJson:
      print_json(table.json());
      break;
    case OutputFormat::kCsv:
      write_printable(stdout, table.csv(), "\r\n");
      break;
  }
}

void print_json(const nlohmann::ordered_json& value) {
  const std::string text =
      value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  print("{}\n", Lines{printable_json(text)});
}

}  // namespace mnm
