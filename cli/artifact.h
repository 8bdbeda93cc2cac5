// What lies beside an export: its probe, and what runtimes made of it.
#pragma once

#include <filesystem>

#include "cli/table.h"

namespace mnm {

// An export in a format that is no checkpoint: there is a probe, and no config.json to open.
bool is_foreign_artifact(const std::filesystem::path& directory);

// What its probe says of one: widths, source, bounds. A line for each fact.
Table probe_table(const std::filesystem::path& directory);

// verified.json, as scripts/verify writes it: the last answer of each runtime about the probe that
// lies there. Empty where there is none. Error where it is not such a file.
Table verified_table(const std::filesystem::path& directory);

}  // namespace mnm
