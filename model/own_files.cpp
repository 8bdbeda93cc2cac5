#include "model/own_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/directory.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kKey = "mixnmatch_files";  // its value is the version of the list's form
constexpr int kVersion = 1;
constexpr const char* kAnswers = "verified.json";  // scripts/verify writes it
constexpr std::uint64_t kMostAnswers = 1u << 20;   // bytes

Json entry_of(std::uint64_t bytes, const std::string& fingerprint) {
  return {{"bytes", bytes}, {"fingerprint", fingerprint}};
}

Json entry_of(const fs::path& path) {
  const MappedFile file(path);
  const std::uint64_t size = file.bytes().size();
  SampledBytes bytes;
  bytes.append(size,
               [&](std::uint64_t begin, std::span<std::byte> into) { file.read(begin, into); });
  Fingerprint fingerprint;
  bytes.feed(fingerprint);
  return entry_of(size, fingerprint.hex());
}

std::string list_of(const Json& files) {
  const Json list = {{kKey, kVersion}, {"files", files}};
  return list.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool are_answers(const fs::path& path) {
  try {
    const Json answers = parse_json(read_text(path, kMostAnswers), kAnswers);
    return answers.is_array() && std::ranges::all_of(answers, [](const Json& one) {
             return one.is_object() && one.contains("artifact") && one.contains("runtime");
           });
  } catch (const Error&) {
    return false;
  }
}

// The list's files; null if it is not of its form.
Json listed_files(const fs::path& directory) {
  try {
    const Json list = read_json(directory / kOwnFilesList);
    const bool known = list.is_object() && list.value(kKey, Json()) == kVersion;
    return known ? list.value("files", Json()) : Json();
  } catch (const Error&) {
    return {};
  }
}

bool is_as_written(const fs::directory_entry& file, const fs::path& list, const Json& listed) {
  if (file.file_size() > SampledBytes::kSampled &&
      file.last_write_time() > fs::last_write_time(list)) {
    return false;
  }
  return listed == entry_of(file.path());
}

}  // namespace

void write_own_files_list(const fs::path& directory) {
  Json files = Json::object();
  for (const fs::directory_entry& entry : list_directory(directory)) {
    const std::string name = entry.path().filename().string();
    if (name != kOwnFilesList) files[name] = entry_of(entry.path());
  }
  OutputFile out(directory / kOwnFilesList);
  out.write(list_of(files));
  out.close(Flush::kToKernel);
}

std::uint64_t own_files_list_bytes(const std::map<std::string, std::uint64_t>& files) {
  Json entries = Json::object();
  for (const auto& [name, bytes] : files) entries[name] = entry_of(bytes, Fingerprint().hex());
  return list_of(entries).size();
}

std::string why_not_ours(const fs::path& directory) {
  const std::vector<fs::directory_entry> entries = list_directory(directory);
  const fs::path list = directory / kOwnFilesList;
  if (!fs::is_regular_file(fs::symlink_status(list))) {
    if (entries.empty()) return "";
    return fmt::format(
        "it holds '{}', and no '{}' in which this program lists the files that it wrote (earlier "
        "versions wrote no list)",
        entries.front().path().filename().string(), kOwnFilesList);
  }
  const Json listed = listed_files(directory);
  if (!listed.is_object()) {
    return fmt::format("its '{}' is no list as this program writes it", kOwnFilesList);
  }
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (name == kOwnFilesList) continue;
    const bool is_file = entry.is_regular_file() && !entry.is_symlink();
    if (is_file && name == kAnswers && are_answers(entry.path())) continue;
    if (!is_file || !listed.contains(name)) {
      return fmt::format("it holds '{}', which this program did not write", name);
    }
    if (!is_as_written(entry, list, listed[name])) {
      return fmt::format("its '{}' is not as this program wrote it", name);
    }
  }
  return "";
}

}  // namespace mnm
