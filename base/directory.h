// Lists directories.
#pragma once

#include <filesystem>
#include <vector>

namespace mnm {

// What lies in a directory, by ascending path. Links are not followed. Error, which names the
// directory, if it cannot be read to its end.
std::vector<std::filesystem::directory_entry> list_directory(
    const std::filesystem::path& directory);

}  // namespace mnm
