#include "export/companion_files.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "model/error.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

// A `*` stands at the beginning or end only.
constexpr std::string_view kRuntime[] = {
    "tokenizer*",
    "tokenization_*",
    "special_tokens_map.json",
    "added_tokens*",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "sentencepiece*",
    "chat_template*",
    "*.jinja",
    "generation_config.json",
    "preprocessor_config.json",
};
constexpr std::string_view kLicence[] = {
    "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "USE_POLICY*",
};

bool matches(std::string_view name, std::string_view pattern) {
  if (pattern.starts_with('*')) return name.ends_with(pattern.substr(1));
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

bool matches_any(std::string_view name, std::span<const std::string_view> patterns) {
  return std::ranges::any_of(patterns,
                             [&](std::string_view pattern) { return matches(name, pattern); });
}

}  // namespace

bool is_carried_name(std::string_view name) {
  return matches_any(name, kLicence) || matches_any(name, kRuntime);
}

std::vector<CarriedFile> carried_files(const fs::path& directory, Carry what) {
  std::vector<CarriedFile> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool wanted =
        matches_any(name, kLicence) || (what == Carry::kAll && matches_any(name, kRuntime));
    // A link counts as what it names: the download cache of Hugging Face is made of them.
    if (!wanted || !entry.is_regular_file()) continue;
    files.push_back({name, entry.file_size()});
  }
  std::ranges::sort(files, {}, &CarriedFile::name);
  return files;
}

void copy_carried(const std::vector<CarriedFile>& files, const fs::path& from, const fs::path& to,
                  const ByteProgress& progress, Flush flush) {
  for (const CarriedFile& file : files) {
    const SourceFile source(from / file.name);
    OutputFile out(to / file.name);
    source.copy_to(out, 0, file.bytes, progress);
    out.close(flush);
    source.check_unchanged();
    if (source.size() != file.bytes) {
      fail("cannot copy '{}': it has {} bytes now, and had {} before", source.path().string(),
           source.size(), file.bytes);
    }
  }
}

}  // namespace mnm
