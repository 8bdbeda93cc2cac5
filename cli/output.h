// Results on standard output: a table for people, JSON or CSV for programs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "report/table.h"

namespace mnm {

enum class OutputFormat : std::uint8_t { kText, kJson, kCsv };

// Adds --json and --csv.
void add_output_options(OptionTable& options, bool& json, bool& csv);
OutputFormat output_format(bool json, bool csv);  // UsageError where both

void print_table(const Table& table, OutputFormat format);  // on standard output

// Prints on standard output. Bytes that are not UTF-8, as in the name of a file, become U+FFFD.
void print_json(const nlohmann::ordered_json& value);

}  // namespace mnm
