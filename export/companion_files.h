// Files of the checkpoint that go along with an export as they are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "extract/source_file.h"
#include "model/files.h"

namespace mnm {

struct CarriedFile {
  std::string name;
  std::uint64_t bytes = 0;
};

// kAll: what runtimes read beside config and weights (tokenizer, generation settings), and what the
// weights' licence asks to go with them. kLicence: the latter alone, for formats that hold the
// rest.
enum class Carry : std::uint8_t { kAll, kLicence };

// Error where the file is a link that leads out of its directory, unless into the hub's cache:
// whoever made the checkpoint chose where it leads, and what lies there may be a key of this user.
void require_own_file(const std::filesystem::path& path);

// By name. A link counts as what it names, if require_own_file lets it; what is no file is left.
std::vector<CarriedFile> carried_files(const std::filesystem::path& directory,
                                       Carry what = Carry::kAll);

// Whether a file of that name goes along with one format or another.
bool is_carried_name(std::string_view name);

// Error where a file is not the one that was planned with, or changes while it is copied.
void copy_carried(const std::vector<CarriedFile>& files, const std::filesystem::path& from,
                  const std::filesystem::path& to, const ByteProgress& progress, Flush flush);

}  // namespace mnm
