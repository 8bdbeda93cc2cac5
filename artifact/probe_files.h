// The files that lie beside an export: its probe, and the answers of runtimes.
#pragma once

#include <filesystem>
#include <string>

#include "report/table.h"

namespace mnm {

// Whether the directory is an export in a format that is no checkpoint: it has a probe and no
// config.json.
bool is_foreign_artifact(const std::filesystem::path& directory);

// 32 hex digits of the files of an export, as PlannedExport::fingerprint gives them. It covers all
// files in the directory but the probe, verified.json, and what no reader reads: README.md and
// hidden files.
std::string artifact_fingerprint(const std::filesystem::path& directory);

// Whether the probe in the directory was made of files with this fingerprint. Also true if there is
// no probe.
bool is_as_exported(const std::filesystem::path& directory, const std::string& fingerprint);

// What the probe says, one line for each fact: widths, source, tolerances, and whether the files
// are still those that it was made of.
Table probe_table(const std::filesystem::path& directory, const std::string& fingerprint);

// The content of verified.json, which scripts/verify writes: the last answer of each runtime about
// this probe. Empty if there is no such file, or the files are no longer the same. Error if the
// file is not of that form.
Table verified_table(const std::filesystem::path& directory, const std::string& fingerprint);

}  // namespace mnm
