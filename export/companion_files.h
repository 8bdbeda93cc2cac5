// Files of the checkpoint that an export copies as they are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/progress.h"

namespace mnm {

struct CarriedFile {
  std::string name;
  std::uint64_t bytes = 0;
};

// Which files are copied. kAll: the files that runtimes read beside config and weights (tokenizer,
// generation settings), and those that the licence of the weights asks for. kLicence: only the
// latter, for formats that hold the rest. kRuntime: only the former, for weights that are new.
enum class Carry : std::uint8_t { kAll, kLicence, kRuntime };

// Error if there is something of that name that is no file, or a link that leads out of its
// directory, except into the cache of Hugging Face's hub. Whoever made the checkpoint chose where
// the link leads, and what lies there may be a key of this user. Every file whose content an export
// takes over is asked about here, but for the weights: they are numbers of known names and shapes.
void require_own_file(const std::filesystem::path& path);

// The files, by name. A link that require_own_file allows counts as the file that it leads to.
// Directories without an extension, such as LICENSES, are left out. Error where require_own_file
// has one about a file, or about config.json, whose keys every export takes over.
std::vector<CarriedFile> carried_files(const std::filesystem::path& directory,
                                       Carry what = Carry::kAll);

// Copies the files. Error if a file is no longer the one that was planned, or changes while it is
// copied.
void copy_carried(const std::vector<CarriedFile>& files, const std::filesystem::path& from,
                  const std::filesystem::path& to, Meter& meter, Flush flush);

}  // namespace mnm
