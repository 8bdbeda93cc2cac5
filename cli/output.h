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

// On standard output. What is not UTF-8, such as a name from a file system, has U+FFFD for it.
void print_json(const nlohmann::ordered_json& value);

}  // namespace mnm
