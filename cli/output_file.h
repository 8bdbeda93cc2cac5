// Files that commands write for their user.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "base/file.h"
#include "cli/output_kind.h"
#include "report/table.h"

namespace mnm {

// Throws an Error before any work is done: `path` exists and `force` is not given, or is there and
// is not of the kind that is written; `path` is a directory, or its directory does not exist or may
// not be written to.
void require_writable(const std::filesystem::path& path, bool force, const OutputKind& kind);

// What --force allows an AtomicDirectory to replace: only directories that this program wrote.
AtomicDirectory::Replaceable replaceable(bool force);

// Throws an Error before any work is done, if the directory could not be written there.
void require_target(const std::filesystem::path& directory, bool force);

// The files of a directory that would be written (name -> bytes), with the list of them that is
// written last: a line each, and the sum in `bytes`.
Table planned_files(std::map<std::string, std::uint64_t> files, std::uint64_t& bytes);

// UsageError if `output` is the same file or directory as `input`, or a directory that holds it,
// because writing the output would destroy the input. Nothing happens if either does not exist.
void require_apart(const std::filesystem::path& output, const std::filesystem::path& input);

// As require_apart, for an output that is a file. UsageError also if it lies in the directory
// `input`, a checkpoint or an image set, or is what a link there leads to. Error as in snapshot_of.
void require_outside(const std::filesystem::path& output, const std::filesystem::path& input);

// UsageError if two of these are one file, because the later output would replace the earlier.
// Empty paths are passed over.
void require_distinct(std::span<const std::filesystem::path> outputs);

}  // namespace mnm
