// Files that commands write for their user.
#pragma once

#include <filesystem>

namespace mnm {

// Error, before any work is done for it: `path` is there and `force` is not given, it is a
// directory, or its own directory is not there or may not be written.
void require_writable(const std::filesystem::path& path, bool force);

}  // namespace mnm
