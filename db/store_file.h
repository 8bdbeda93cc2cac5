// The store's file: recognises it, makes it if there is none, and opens it so that reading leaves
// no trace.
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

  // Whether nothing is there yet, or an empty file. Error if no store can be made there.
  static bool is_to_be_made(const std::filesystem::path& path);

  sqlite::Connection& connection() { return connection_; }

  // The version of the file's schema. It is this program's version, or an older one if the file is
  // only read. Then the tables and columns of later versions are not there.
  std::int64_t version() const;

  // Whether everything that was read since the file was opened belongs to one state. A store is
  // read without locks if no files of a writer lie beside it, because locks would need files of our
  // own. If a writer came meanwhile, the files show it. Then everything must be read again from a
  // new StoreFile.
  bool settled() const;

 private:
  enum class Locking : std::uint8_t {
    kShared,     // SQLite's own, with the writers' shared memory
    kImmutable,  // none: there is no journal
    kNone,       // none: there is a journal, but nobody's shared memory
  };
  // The state of the file and of the files that SQLite keeps beside it: -wal, -shm, -journal.
  using State = std::array<FileState, 4>;

  static State state_of(const std::filesystem::path& path);
  // The state after the journal of a killed writer was carried out, if this process may do that.
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
