// Where an output may not go: on a store, on the files that SQLite keeps beside one, or on what is
// no file. A link stands for what it leads to.
#pragma once

#include <filesystem>

namespace mnm {

// Error if `target`, or a directory above it, has the name of a store's -wal, -shm or -journal
// file, whether that exists or not. SQLite would read what is written there as its own.
void require_no_journal(const std::filesystem::path& target);

// Error as in require_no_journal, and also if `target` is a store or any other SQLite database.
void require_no_store(const std::filesystem::path& target);

// Error as in require_no_store, and also if `target` is something other than a file, a link to a
// file, or a link to nothing. For instance, a file in the place of /dev/null would harm every
// program.
void require_place_of_file(const std::filesystem::path& target);

}  // namespace mnm
