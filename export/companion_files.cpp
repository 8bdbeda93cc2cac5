#include "export/companion_files.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <system_error>

#include "base/directory.h"
#include "base/error.h"
#include "extract/source_file.h"

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
    // Of transformers' processors (utils/__init__.py: IMAGE_, VIDEO_PROCESSOR_NAME and the last).
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
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

// Whether `name` is that of a blob in the hub's cache: the SHA-1 or SHA-256 of its content.
bool is_blob_name(const std::string& name) {
  return (name.size() == 40 || name.size() == 64) &&
         name.find_first_not_of("0123456789abcdef") == name.npos;
}

// Whether a link that leads to `target` is one of the checkpoint's own: to a file beside it, or to
// a blob of the hub's cache. There `models--ORG--NAME/snapshots/REVISION/` holds links to
// `models--ORG--NAME/blobs/` (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
bool is_own_target(const fs::path& target, const fs::path& directory) {
  const fs::path holder = target.parent_path();
  if (holder == directory) return true;
  if (holder.filename() != "blobs") return false;
  const fs::path snapshots = holder.parent_path() / "snapshots";
  for (fs::path above = directory; above != above.root_path(); above = above.parent_path()) {
    if (above == snapshots) return true;
  }
  return holder.parent_path().filename().string().starts_with("models--") &&
         is_blob_name(target.filename().string());
}

}  // namespace

void require_own_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status here = fs::symlink_status(path, error);
  if (!fs::exists(here)) return;
  if (const fs::file_status file = fs::status(path, error); !fs::is_regular_file(file)) {
    fail("cannot carry '{}' along: it is {}, not a file; put the file in its place, or remove it",
         path.string(),
         fs::is_directory(file) ? "a directory"
         : fs::exists(file)     ? "a device or pipe"
                                : "a link to nothing");
  }
  if (!fs::is_symlink(here)) return;
  const fs::path target = fs::canonical(path, error);
  if (!error &&
      is_own_target(target, fs::canonical(path.has_parent_path() ? path.parent_path() : "."))) {
    return;
  }
  fail(
      "cannot carry '{}' along: it is a link to '{}', which is neither beside it nor in the hub's "
      "cache; put a copy in its place, or remove it",
      path.string(), target.string());
}

std::vector<CarriedFile> carried_files(const fs::path& given, Carry what) {
  const fs::path directory = given.empty() ? "." : given;
  require_own_file(directory / "config.json");
  std::vector<CarriedFile> files;
  for (const fs::directory_entry& entry : list_directory(directory)) {
    const std::string name = entry.path().filename().string();
    const bool wanted = (what != Carry::kRuntime && matches_any(name, kLicence)) ||
                        (what != Carry::kLicence && matches_any(name, kRuntime));
    if (!wanted || (entry.is_directory() && !entry.path().has_extension())) continue;
    require_own_file(entry.path());
    files.push_back({name, entry.file_size()});
  }
  std::ranges::sort(files, {}, &CarriedFile::name);
  return files;
}

void copy_carried(const std::vector<CarriedFile>& files, const fs::path& from, const fs::path& to,
                  Meter& meter, Flush flush) {
  for (const CarriedFile& file : files) {
    const SourceFile source(from / file.name);
    OutputFile out(to / file.name);
    source.copy_to(out, 0, file.bytes, &meter);
    out.close(flush);
    source.check_unchanged();
    if (source.size() != file.bytes) {
      fail("cannot copy '{}': it has {} bytes now, and had {} before", source.path().string(),
           source.size(), file.bytes);
    }
  }
}

}  // namespace mnm
