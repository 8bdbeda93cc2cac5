#include "db/vfs.h"

#include <sqlite3.h>

#include "base/error.h"

namespace mnm::sqlite {
namespace {

// `name` is registered as a copy of SQLite's `original`, to which everything goes but
// super-journals.
class OwnFiles {
 public:
  OwnFiles(const char* original, const char* name) {
    sqlite3_vfs* const found = sqlite3_vfs_find(original);
    if (found == nullptr) fail("SQLite has no way to files named '{}'", original);
    vfs_ = *found;
    vfs_.zName = name;
    vfs_.pNext = nullptr;
    vfs_.pAppData = found;
    vfs_.xOpen = open;
    sqlite3_vfs_register(&vfs_, 0);
  }

 private:
  // Files opened are the original's in all they do.
  static int open(sqlite3_vfs* self, const char* path, sqlite3_file* file, int flags, int* got) {
    if ((flags & SQLITE_OPEN_SUPER_JOURNAL) != 0) {
      file->pMethods = nullptr;  // as xOpen must leave it
      return SQLITE_CANTOPEN;
    }
    auto* const original = static_cast<sqlite3_vfs*>(self->pAppData);
    return original->xOpen(original, path, file, flags, got);
  }

  sqlite3_vfs vfs_{};
};

}  // namespace

const char* own_files_vfs() {
  static const OwnFiles vfs(nullptr, "mixnmatch");
  return "mixnmatch";
}

const char* own_files_vfs_without_locks() {
  static const OwnFiles vfs("unix-none", "mixnmatch-none");
  return "mixnmatch-none";
}

}  // namespace mnm::sqlite
