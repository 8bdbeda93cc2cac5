// The store's file: recognised, made where there is none, and opened so that reading leaves no
// trace.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>

#include "db/sqlite.h"
#include "db/store.h"

namespace mnm {

// What stat(2) says of a file; zeros where there is none.
struct FileState {
  std::uint64_t inode = 0, size = 0;
  std::int64_t modified = 0;  // nanoseconds

  bool operator==(const FileState&) const = default;
};

class StoreFile {
 public:
  StoreFile(const std::filesystem::path& path, Store::Mode mode,
            std::chrono::milliseconds patience);

  sqlite::Connection& connection() { return connection_; }

  // Of the file's schema: the program's own, or an older one where the file is read. What later
  // versions added is not there then.
  std::int64_t version() const;

  // Whether all that was read since the file was opened is of one state. Where no writer's files
  // lie beside it, a store is read without locks, for these would need files of our own; a writer
  // that came meanwhile shows in the files, and what was read must be read again from a new
  // StoreFile.
  bool settled() const;

 private:
  enum class Locking : std::uint8_t {
    kShared,     // SQLite's own, with the writers' shared memory
    kImmutable,  // none: there is no journal
    kNone,       // none: there is a journal, but nobody's shared memory
  };
  // Of the file, and of what SQLite keeps beside it: -wal, -shm, -journal.
  using State = std::array<FileState, 4>;

  static State state_of(const std::filesystem::path& path);
  // The state after a killed writer's journal was carried out, where this process may do that.
  static State healed_state(const std::filesystem::path& path, Store::Mode mode,
                            std::chrono::milliseconds patience);
  static Locking locking_of(const State& state);
  static sqlite::Connection open(const std::filesystem::path& path, Store::Mode mode,
                                 const State& state);
  void set_up_writing(std::chrono::milliseconds patience);
  bool is_blank() const;
  void check_identity() const;

  std::filesystem::path path_;  // with links resolved: SQLite's files lie beside what they lead to
  State state_;                 // when it was opened
  Locking locking_;
  sqlite::Connection connection_;
};

}  // namespace mnm
