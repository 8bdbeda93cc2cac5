// How SQLite reaches files: as ever, but for files that are not the store's own.
#pragma once

namespace mnm::sqlite {

// The name of SQLite's default VFS without super-journals, and of its VFS without locks likewise. A
// rollback journal may name a file anywhere as the super-journal of several databases, which SQLite
// deletes after it has rolled back (https://sqlite.org/atomiccommit.html, section 5). A store is
// one database and never has one, so opening it fails here, and nothing is deleted.
const char* own_files_vfs();
const char* own_files_vfs_without_locks();

}  // namespace mnm::sqlite
