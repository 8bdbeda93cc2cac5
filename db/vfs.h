// How SQLite reaches files: as usual, but never files that are not the store's own.
#pragma once

namespace mnm::sqlite {

// The names of two of SQLite's VFS (its layer to the operating system) without super-journals: the
// default one, and the one without locks. A rollback journal may name any file as the super-journal
// of several databases, and SQLite deletes that file after the rollback
// (https://sqlite.org/atomiccommit.html, section 5). A store is one database and never has a
// super-journal. So opening such a file fails here, and nothing is deleted.
const char* own_files_vfs();
const char* own_files_vfs_without_locks();

}  // namespace mnm::sqlite
