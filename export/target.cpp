#include "export/target.h"

#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "model/error.h"
#include "model/fingerprint.h"

namespace mnm {

std::uint64_t PlannedExport::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [name, bytes] : files()) sum += bytes;
  return sum;
}

void PlannedExport::check_layout(const std::filesystem::path& directory) const {
  for (const auto& [name, bytes] : files()) {
    std::error_code error;
    const std::uint64_t found = std::filesystem::file_size(directory / name, error);
    if (error) fail("the export lacks '{}': {}", name, error.message());
    if (found != bytes) {
      fail("the export's '{}' has {} bytes, {} were planned", name, found, bytes);
    }
  }
}

std::string PlannedExport::fingerprint(const std::filesystem::path& directory) const {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files()) names.push_back(name);
  return fingerprint_of(directory, names);
}

std::string fingerprint_of(const std::filesystem::path& directory,
                           std::span<const std::string> names) {
  std::vector<MappedFile> maps;
  maps.reserve(names.size());  // they stay where they are until their bytes have been fed
  Fingerprint fingerprint;
  SampledBytes data;
  for (const std::string& name : names) {
    maps.emplace_back(directory / name);
    fingerprint.add(name);
    fingerprint.add(std::to_string(maps.back().bytes().size()));
    data.append(maps.back().bytes().size(),
                [&file = maps.back()](std::uint64_t begin, std::span<std::byte> into) {
                  file.read(begin, into);
                });
  }
  data.feed(fingerprint);
  return fingerprint.hex();
}

// JSON escapes what Python would, and both read the escapes alike.
std::string python_literal(const std::filesystem::path& path) {
  return nlohmann::json(path.string())
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mnm
