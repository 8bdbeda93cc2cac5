// Files that commands write for their user.
#pragma once

#include <filesystem>
#include <span>

#include "model/files.h"

namespace mnm {

// Error, before any work is done for it: `path` is there and `force` is not given, it is a
// directory, or its own directory is not there or may not be written.
void require_writable(const std::filesystem::path& path, bool force);

// What --force allows an AtomicDirectory to replace: what this program wrote.
AtomicDirectory::Replaceable replaceable(bool force);

// Error, before any work is done for it, where such a directory cannot be written there.
void require_target(const std::filesystem::path& directory, bool force);

// UsageError where `output` is the same file or directory as `input`, or a directory that holds it:
// to write the one would lose the other. Nothing where either is not there.
void require_apart(const std::filesystem::path& output, const std::filesystem::path& input);

// UsageError where two of these are one file: the later would take the place of the earlier. Empty
// ones are none.
void require_distinct(std::span<const std::filesystem::path> outputs);

}  // namespace mnm
