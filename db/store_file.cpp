#include "db/store_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "db/migrate.h"
#include "db/run_locks.h"
#include "db/schema_check.h"
#include "db/vfs.h"

namespace mnm {

extern const std::string_view kSchema;  // db/schema.sql

namespace {

constexpr std::int64_t kApplicationId = 0x6d6e6d73;  // as in db/schema.sql
constexpr std::int64_t kVersion = 6;                 // as there
constexpr std::int64_t kOldest = 2;                  // that is brought along
constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr std::string_view kJournalMagic("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
constexpr std::string_view kCompanions[] = {"", "-wal", "-shm", "-journal"};
constexpr std::size_t kHeaderBytes = 100;

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

[[noreturn]] void fail_of_another_program(const std::filesystem::path& path,
                                          std::int64_t application, std::int64_t version) {
  fail(
      "{} is a database of another program (application id {:#010x}, version {}; a store has "
      "{:#010x}, version {}): give a file that mixnmatch made, or a new name",
      path.string(), static_cast<std::uint32_t>(application), version, kApplicationId, kVersion);
}

// What SQLite finds out late or never: that the file is another thing, or ends before its last
// page (https://sqlite.org/fileformat2.html, "The Database Header"). With a journal beside it the
// file may rightly be shorter than its header says, and SQLite is left to judge. But SQLite would
// carry the journal out before it says whose database it is. A store is one from the transaction
// that makes it, so the file itself says so.
void check_header(const std::filesystem::path& path, bool has_journal) {
  std::string header(kHeaderBytes, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("{} cannot be read: {}", path.string(), std::strerror(errno));
  in.read(header.data(), static_cast<std::streamsize>(header.size()));
  header.resize(static_cast<std::size_t>(in.gcount()));
  if (header.empty()) return;

  const std::size_t common = std::min(header.size(), kMagic.size());
  if (header.compare(0, common, kMagic.substr(0, common)) != 0) {
    fail("{} is not a database: give a file that mixnmatch made, or a new name", path.string());
  }
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  std::uint64_t expected = kHeaderBytes;
  if (header.size() == kHeaderBytes) {
    const std::string_view view = header;
    const std::uint64_t page = big_endian(view.substr(16, 2));
    const bool counted = view.substr(24, 4) == view.substr(92, 4);
    const std::uint64_t application = big_endian(view.substr(68, 4));
    if (has_journal && application != kApplicationId) {
      fail_of_another_program(path, static_cast<std::int64_t>(application),
                              static_cast<std::int64_t>(big_endian(view.substr(60, 4))));
    }
    if (counted && !has_journal)
      expected = (page == 1 ? 65536 : page) * big_endian(view.substr(28, 4));
  }
  if (size < expected) {
    fail("{} is truncated: it has {} bytes, expected {}; restore a copy", path.string(), size,
         expected);
  }
}

// Error where the journal ends with the name of a super-journal, a file that SQLite would delete
// when it has carried the journal out (https://sqlite.org/fileformat2.html, "The Rollback
// Journal"): no store is written together with another database.
void check_journal(const std::filesystem::path& journal) {
  std::ifstream in(journal, std::ios::binary | std::ios::ate);
  const std::streamoff size = in ? static_cast<std::streamoff>(in.tellg()) : 0;
  const auto length = static_cast<std::streamoff>(kJournalMagic.size());
  if (size <= length) return;
  std::string end(kJournalMagic.size(), '\0');
  in.seekg(size - length);
  in.read(end.data(), length);
  if (in && end == kJournalMagic) {
    fail(
        "{} names another file, which would be deleted with it: mixnmatch writes no such journal; "
        "remove it, and restore a copy of the store",
        journal.string());
  }
}

// What SQLite would write through: a link that a stranger put beside the store.
void check_companions(const std::filesystem::path& path) {
  for (const std::string_view suffix : kCompanions) {
    if (suffix.empty()) continue;
    const std::filesystem::path companion = path.string().append(suffix);
    std::error_code error;
    const auto type = std::filesystem::symlink_status(companion, error).type();
    if (type == std::filesystem::file_type::not_found) continue;
    if (type == std::filesystem::file_type::none) {
      fail("cannot look at {}: {}", companion.string(), error.message());
    }
    if (type != std::filesystem::file_type::regular) {
      fail("{} is not a file of its own, as a store's journal is: remove it", companion.string());
    }
  }
  check_journal(path.string() + "-journal");
}

bool may_write(const std::filesystem::path& path) {
  return faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
}

void check_file(const std::filesystem::path& path) {
  if (std::filesystem::is_regular_file(path)) return;
  fail("{} is not a file: give a file that mixnmatch made, or a new name", path.string());
}

void check_writable(const std::filesystem::path& path, bool exists) {
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(parent)) {
    fail("{} cannot be made: there is no directory {}", path.string(), parent.string());
  }
  if (!may_write(parent)) {
    fail(
        "{} cannot be written: the directory {} is read-only, and a store keeps its journal beside "
        "it",
        path.string(), parent.string());
  }
  if (exists && !may_write(path)) fail("{} cannot be written: it is read-only", path.string());
}

// As https://sqlite.org/uri.html demands.
std::string uri_of(const std::filesystem::path& path, std::string_view query) {
  std::string uri = "file:";
  for (const char c : path.string()) {
    if (c == '%' || c == '?' || c == '#') {
      uri += fmt::format("%{:02x}", static_cast<unsigned>(c));
    } else {
      uri += c;
    }
  }
  return uri.append(query);
}

std::filesystem::path resolved(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path result = std::filesystem::canonical(path, error);
  return error ? std::filesystem::absolute(path) : result;
}

}  // namespace

StoreFile::State StoreFile::state_of(const std::filesystem::path& path) {
  State state;
  for (std::size_t i = 0; i < state.size(); ++i) {
    struct stat found {};
    if (stat(path.string().append(kCompanions[i]).c_str(), &found) != 0) continue;
    state[i] = {found.st_ino, static_cast<std::uint64_t>(found.st_size),
                found.st_mtim.tv_sec * std::int64_t{1'000'000'000} + found.st_mtim.tv_nsec};
  }
  return state;
}

bool StoreFile::is_to_be_made(const std::filesystem::path& path) {
  const std::filesystem::path place = resolved(path);
  const FileState file = state_of(place)[0];
  const bool exists = file.inode != 0;
  if (exists) check_file(place);
  if (file.size > 0) return false;
  check_companions(place);
  check_writable(place, exists);
  return true;
}

StoreFile::State StoreFile::healed_state(const std::filesystem::path& path, Store::Mode mode,
                                         std::chrono::milliseconds patience) {
  check_companions(path);
  const State state = state_of(path);
  const auto& [file, wal, shm, journal] = state;
  const bool is_hot = mode == Store::Mode::kRead && journal.size > 0 && file.size > 0;
  if (!is_hot || !may_write(path) || !may_write(path.parent_path())) return state;
  check_header(path, true);
  const sqlite::Connection connection(path, uri_of(path, ""), SQLITE_OPEN_READWRITE);
  sqlite3_busy_timeout(connection.handle(), static_cast<int>(patience.count()));
  sqlite3_db_config(connection.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  connection.integer("PRAGMA user_version");  // the first look at the file carries the journal out
  return state_of(path);
}

StoreFile::Locking StoreFile::locking_of(const State& state) {
  const auto& [file, wal, shm, journal] = state;
  if (journal.size > 0) return Locking::kShared;  // being made, or its making was cut short
  if (wal.size == 0) return Locking::kImmutable;
  return shm.inode == 0 ? Locking::kNone : Locking::kShared;
}

sqlite::Connection StoreFile::open(const std::filesystem::path& path, Store::Mode mode,
                                   const State& state) {
  const auto& [file, wal, shm, journal] = state;
  const bool exists = file.inode != 0;
  if (exists) check_file(path);
  if (mode == Store::Mode::kWrite) check_writable(path, exists);
  if (exists) check_header(path, wal.size > 0 || journal.size > 0);

  if (mode == Store::Mode::kWrite) {
    return {path, uri_of(path, ""), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE};
  }
  if (!exists) fail("there is no {}: give a file that mixnmatch made", path.string());
  if (file.size == 0) fail("{} is empty: give a file that mixnmatch made", path.string());
  const std::string without_locks = fmt::format("?vfs={}", sqlite::own_files_vfs_without_locks());
  const std::string_view queries[] = {"", "?immutable=1", without_locks};
  return {path, uri_of(path, queries[static_cast<std::size_t>(locking_of(state))]),
          SQLITE_OPEN_READONLY};
}

StoreFile::StoreFile(const std::filesystem::path& path, Store::Mode mode,
                     std::chrono::milliseconds patience)
    : path_(resolved(path)),
      state_(healed_state(path_, mode, patience)),
      locking_(mode == Store::Mode::kWrite ? Locking::kShared : locking_of(state_)),
      connection_(open(path_, mode, state_)) {
  if (locking_ == Locking::kShared) require_locks(path_);
  sqlite3* handle = connection_.handle();
  sqlite3_busy_timeout(handle, static_cast<int>(patience.count()));
  // A reader leaves the journal as it is.
  if (mode == Store::Mode::kRead) {
    sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  // Without shared memory SQLite reads a journal in a mode that takes the file for its own.
  if (locking_ == Locking::kNone) connection_.execute("PRAGMA locking_mode = EXCLUSIVE");
  if (mode == Store::Mode::kWrite) {
    set_up_writing(patience);
  } else {
    check_identity();
    check_schema(connection_);
  }
  connection_.execute("PRAGMA cache_size = -65536");  // KiB
}

void StoreFile::set_up_writing(std::chrono::milliseconds patience) {
  connection_.execute("PRAGMA foreign_keys = ON");
  if (is_blank()) {
    // Whoever comes first makes it; everything or nothing is there for the others.
    sqlite::Transaction transaction(connection_, sqlite::Transaction::Kind::kWrite);
    if (is_blank()) connection_.execute(std::string(kSchema));
    transaction.commit();
  }
  check_identity();
  check_schema(connection_);
  if (version() < kVersion) {
    // Neither can be changed within a transaction.
    connection_.execute("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON");
    sqlite::Transaction transaction(connection_, sqlite::Transaction::Kind::kWrite);
    if (const std::int64_t found = version(); found < kVersion) upgrade(connection_, found);
    transaction.commit();
    connection_.execute("PRAGMA foreign_keys = ON; PRAGMA legacy_alter_table = OFF");
  }
  // SQLite does not always wait for others when it changes the mode, so we do. On file systems
  // without shared memory the mode stays what it was, which is as safe, only slower.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (sqlite3_exec(connection_.handle(), "PRAGMA journal_mode = WAL", nullptr, nullptr,
                      nullptr) != SQLITE_OK) {
    const int code = sqlite3_errcode(connection_.handle());
    if (code != SQLITE_BUSY || std::chrono::steady_clock::now() > deadline) connection_.fail();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  // Survives any kill of the process; a power failure may lose the last transactions, never the
  // soundness of the file. Pages written many times over reach it once per 32 MiB of journal.
  connection_.execute("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8192");
}

bool StoreFile::is_blank() const {
  return connection_.integer("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)") == 1 &&
         connection_.integer("PRAGMA application_id") == 0 &&
         connection_.integer("PRAGMA user_version") == 0;
}

void StoreFile::check_identity() const {
  const std::int64_t application = connection_.integer("PRAGMA application_id");
  const std::int64_t found = version();
  if (application != kApplicationId) fail_of_another_program(path_, application, found);
  if (found < kOldest || found > kVersion) {
    fail(
        "{} is a store of version {}, this program reads versions {} to {}: use the mixnmatch that "
        "made it, or a new file",
        path_.string(), found, kOldest, kVersion);
  }
}

std::int64_t StoreFile::version() const { return connection_.integer("PRAGMA user_version"); }

bool StoreFile::settled() const {
  return locking_ == Locking::kShared || state_of(path_) == state_;
}

}  // namespace mnm
