// What lies beside an export: its probe, and what runtimes made of it.
#pragma once

#include <filesystem>
#include <string>

#include "report/table.h"

namespace mnm {

// An export in a format that is no checkpoint: there is a probe, and no config.json to open.
bool is_foreign_artifact(const std::filesystem::path& directory);

// 32 hex digits of the files of an export, as PlannedExport::fingerprint gives them: of all that
// lie there but the probe and verified.json, and what no reader reads, README.md and hidden files.
std::string artifact_fingerprint(const std::filesystem::path& directory);

// Whether the probe that lies there was made of files with this fingerprint; true where none lies
// there.
bool is_as_exported(const std::filesystem::path& directory, const std::string& fingerprint);

// What its probe says of one: widths, source, bounds, and whether the files are still those. A line
// for each fact.
Table probe_table(const std::filesystem::path& directory, const std::string& fingerprint);

// verified.json, as scripts/verify writes it: the last answer of each runtime about the probe that
// lies there. Empty where there is none, or the files are no longer those. Error where it is not
// such a file.
Table verified_table(const std::filesystem::path& directory, const std::string& fingerprint);

}  // namespace mnm
