#include "base/output_place.h"

#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

// Whether SQLite would open it: by the first bytes.
bool is_database(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  std::ifstream in(path, std::ios::binary);
  char head[15] = {};
  in.read(head, sizeof head);
  return std::string_view(head, sizeof head) == "SQLite format 3";
}

// The store whose journal would have that name; empty if there is none.
fs::path store_of_journal(const fs::path& name) {
  const std::string text = name.string();
  std::error_code error;
  for (const std::string_view suffix : {"-wal", "-shm", "-journal"}) {
    if (!text.ends_with(suffix)) continue;
    const fs::path store = text.substr(0, text.size() - suffix.size());
    const bool unwritten = fs::is_regular_file(store, error) && fs::is_empty(store, error);
    if (unwritten || is_database(store)) return store;
  }
  return {};
}

}  // namespace

void require_no_journal(const fs::path& target) {
  // SQLite names them after the file that a link leads to.
  std::error_code error;
  for (fs::path name : {target, fs::weakly_canonical(target, error)}) {
    // The directories above it, too: whoever writes the target may make them.
    for (; name.has_relative_path(); name = name.parent_path()) {
      if (const fs::path store = store_of_journal(name); !store.empty()) {
        fail("cannot write '{}': '{}' would be the journal of the store '{}'", target.string(),
             name.string(), store.string());
      }
    }
  }
}

void require_no_store(const fs::path& target) {
  require_no_journal(target);
  if (is_database(target)) {
    fail("cannot write '{}': it is a store or another database, choose another name",
         target.string());
  }
}

void require_place_of_file(const fs::path& target) {
  require_no_store(target);
  std::error_code error;
  const fs::file_status status = fs::status(target, error);
  if (!fs::exists(status) || fs::is_regular_file(status)) return;
  fail("cannot write '{}': {} has that name, choose another", target.string(),
       fs::is_directory(status) ? "a directory" : "a device or pipe");
}

}  // namespace mnm
