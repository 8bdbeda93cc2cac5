#include "cli/output_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/output_place.h"
#include "model/checkpoint.h"
#include "model/own_files.h"

namespace mnm {
namespace {

void require_directory_of(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(parent)) {
    fail("cannot write {}: there is no directory {}", path.string(), parent.string());
  }
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    fail("cannot write {}: {}: {}", path.string(), parent.string(), std::strerror(errno));
  }
}

}  // namespace

void require_writable(const std::filesystem::path& path, bool force, const OutputKind& kind) {
  namespace fs = std::filesystem;
  require_place_of_file(path);
  if (fs::exists(fs::symlink_status(path)) && !force) {
    fail("{} is there already: choose another name, or replace it with --force", path.string());
  }
  if (!is_replaceable_file(path, kind)) {
    fail("cannot replace {}: --force replaces only {}; remove it, or choose another name",
         path.string(), kind.what);
  }
  require_directory_of(path);
}

AtomicDirectory::Replaceable replaceable(bool force) {
  return force ? AtomicDirectory::Replaceable(why_not_ours) : AtomicDirectory::Replaceable();
}

void require_target(const std::filesystem::path& directory, bool force) {
  namespace fs = std::filesystem;
  require_no_store(directory);
  const bool empty = fs::is_directory(directory) && fs::is_empty(directory);
  if (fs::exists(fs::symlink_status(directory)) && !force && !empty) {
    fail("{} is there already: choose another name, or replace it with --force",
         directory.string());
  }
  AtomicDirectory::require_replaceable(directory, replaceable(force));
}

Table planned_files(std::map<std::string, std::uint64_t> files, std::uint64_t& bytes) {
  files[kOwnFilesList] = own_files_list_bytes(files);
  Table table{{{"file", "file", false}, {"bytes", "bytes"}}, {}};
  bytes = 0;
  for (const auto& [name, size] : files) {
    table.rows.push_back({cell(name), cell(static_cast<std::int64_t>(size))});
    bytes += size;
  }
  return table;
}

void require_apart(const std::filesystem::path& output, const std::filesystem::path& input) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path out = fs::canonical(output, error);
  if (error || output.empty()) return;
  fs::path in = fs::canonical(input, error);
  if (error || input.empty()) return;
  for (;; in = in.parent_path()) {
    if (fs::equivalent(in, out, error)) {
      fail_usage("cannot write {}: that would replace {}, which this command reads",
                 output.string(), input.string());
    }
    if (in == in.parent_path()) return;
  }
}

void require_outside(const std::filesystem::path& output, const std::filesystem::path& input) {
  namespace fs = std::filesystem;
  require_apart(output, input);
  std::error_code error;
  if (output.empty() || !fs::is_directory(input, error)) return;
  const fs::path parent = output.has_parent_path() ? output.parent_path() : fs::path(".");
  const fs::path directories[] = {input, snapshot_of(input)};
  for (const fs::path& directory : directories) {
    for (fs::directory_iterator file(directory, error), end; !error && file != end;
         file.increment(error)) {
      std::error_code unlike;  // where one of them is not there
      if (!fs::equivalent(file->path(), output, unlike)) continue;
      fail_usage("cannot write {}: that would replace {}, which this command reads",
                 output.string(), file->path().string());
    }
    if (fs::equivalent(parent, directory, error)) {
      fail_usage("cannot write {}: that would change {}, which this command reads", output.string(),
                 input.string());
    }
  }
}

void require_distinct(std::span<const std::filesystem::path> outputs) {
  namespace fs = std::filesystem;
  std::set<fs::path> seen;
  std::error_code error;
  for (const fs::path& output : outputs) {
    if (output.empty()) continue;
    const fs::path parent = output.has_parent_path() ? output.parent_path() : fs::path(".");
    if (!seen.insert(fs::weakly_canonical(parent, error) / output.filename()).second) {
      fail_usage("{} is given for two outputs: give each a name of its own", output.string());
    }
  }
}

}  // namespace mnm
