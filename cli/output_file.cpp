#include "cli/output_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/error.h"

namespace mnm {

void require_writable(const std::filesystem::path& path, bool force) {
  namespace fs = std::filesystem;
  const fs::file_status status = fs::symlink_status(path);
  if (fs::is_directory(status)) fail("cannot write {}: a directory has that name", path.string());
  if (fs::exists(status) && !force) {
    fail("{} is there already: choose another name, or replace it with --force", path.string());
  }
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(parent)) {
    fail("cannot write {}: there is no directory {}", path.string(), parent.string());
  }
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    fail("cannot write {}: {}: {}", path.string(), parent.string(), std::strerror(errno));
  }
}

}  // namespace mnm
