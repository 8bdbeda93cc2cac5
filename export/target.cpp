#include "export/target.h"

#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "base/error.h"
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
  std::uint64_t bytes = 0;
  for (const std::string& name : names) {
    maps.emplace_back(directory / name);
    const std::uint64_t size = maps.back().bytes().size();
    fingerprint.add(name);
    fingerprint.add(std::to_string(size));
    data.append(size, [&file = maps.back()](std::uint64_t begin, std::span<std::byte> into) {
      file.read(begin, into);
    });
    bytes += size;
  }
  data.feed(fingerprint);
  if (bytes <= SampledBytes::kSampled) return fingerprint.hex();  // every byte is in it
  // What lies between the samples may be code or a tokenizer: all but large weights is taken whole.
  for (const MappedFile& file : maps) {
    if (file.bytes().size() > SampledBytes::kSampled) continue;
    SampledBytes whole;
    whole.append(file.bytes().size(), [&file](std::uint64_t begin, std::span<std::byte> into) {
      file.read(begin, into);
    });
    whole.feed(fingerprint);
  }
  return fingerprint.hex();
}

// JSON escapes what Python would, and both read the escapes alike. Of ASCII alone: what steers a
// terminal is escaped so, and still names the file.
std::string python_literal(const std::filesystem::path& path) {
  return nlohmann::json(path.string())
      .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace mnm
