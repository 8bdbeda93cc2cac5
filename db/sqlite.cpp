#include "db/sqlite.h"

#include <cstring>
#include <string>
#include <utility>

#include "model/error.h"

namespace mnm::sqlite {
namespace {

std::string reason(sqlite3* handle) {
  const int number = sqlite3_system_errno(handle);
  return number == 0 ? sqlite3_errmsg(handle) : std::strerror(number);
}

}  // namespace

void Connection::fail() const {
  const std::string name = path_.string();
  const int code = sqlite3_extended_errcode(handle());
  switch (code & 0xff) {
    case SQLITE_NOTADB:
      mnm::fail("{} is not a database: give a file that mixnmatch made, or a new name", name);
    case SQLITE_CORRUPT:
      mnm::fail("{} is damaged ({}): restore a copy, or save what is left with sqlite3's .recover",
                name, sqlite3_errmsg(handle()));
    case SQLITE_FULL:
      mnm::fail(
          "writing {} failed, the disk is full: free some space and resume; nothing that was "
          "stored before is lost",
          name);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      mnm::fail("{} stayed locked by another process for too long: try again when that is done",
                name);
    case SQLITE_READONLY:
    case SQLITE_PERM:
      mnm::fail("{} cannot be written: it, or the directory it lies in, is read-only", name);
    case SQLITE_CANTOPEN:
      mnm::fail("{} cannot be opened: {}", name, reason(handle()));
    case SQLITE_IOERR:
      mnm::fail("reading or writing {} failed: {}; nothing that was stored before is lost", name,
                reason(handle()));
    case SQLITE_ERROR:  // of statements that are ours and fixed
      mnm::fail("{} holds not what mixnmatch put there ({}): restore a copy, or give a new name",
                name, sqlite3_errmsg(handle()));
    default:
      mnm::fail("{} cannot be used as asked: {}", name, sqlite3_errmsg(handle()));
  }
}

// SQLite itself asks only where it keeps a rollback journal.
void Connection::check_in_place() const {
  int moved = 0;
  sqlite3_file_control(handle(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  if (moved != 0) {
    mnm::fail(
        "{} was deleted, renamed or replaced while it was written: put it and its -wal back and "
        "resume, or begin anew",
        path_.string());
  }
}

Connection::Connection(std::filesystem::path path, const std::string& uri, int flags)
    : path_(std::move(path)) {
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(uri.c_str(), &handle, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  handle_.reset(handle);
  if (handle == nullptr) mnm::fail("{} cannot be opened: out of memory", path_.string());
  if (code != SQLITE_OK) fail();
}

void Connection::execute(const std::string& sql) {
  if (sqlite3_exec(handle(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

Statement Connection::prepare(std::string_view sql) const { return {*this, sql}; }

std::int64_t Connection::integer(std::string_view sql) const {
  Statement statement = prepare(sql);
  if (!statement.step()) mnm::fail("{} is damaged: '{}' gives nothing", path_.string(), sql);
  return statement.integer(0);
}

Statement::Statement(const Connection& connection, std::string_view sql)
    : connection_(&connection) {
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(connection.handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  handle_.reset(handle);
  check(code);
}

void Statement::check(int code) const {
  if (code != SQLITE_OK) connection_->fail();
}

bool Statement::step() {
  const int code = sqlite3_step(handle());
  if (code != SQLITE_ROW && code != SQLITE_DONE) {
    try {
      connection_->fail();
    } catch (...) {
      reset();
      throw;
    }
  }
  return code == SQLITE_ROW;
}

void Statement::run() {
  while (step()) {
  }
  reset();
}

// It returns the last step's failure again, which step() has thrown.
void Statement::reset() { sqlite3_reset(handle()); }

std::string_view Statement::text(int column) const {
  const auto* text = sqlite3_column_text(handle(), column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(handle(), column))};
}

std::span<const std::byte> Statement::blob(int column) const {
  const void* bytes = sqlite3_column_blob(handle(), column);
  if (bytes == nullptr) return {};
  return {static_cast<const std::byte*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(handle(), column))};
}

void Statement::bind_one(int position, std::nullopt_t) {
  check(sqlite3_bind_null(handle(), position));
}

void Statement::bind_one(int position, std::string_view text) {
  check(sqlite3_bind_text64(handle(), position, text.data() == nullptr ? "" : text.data(),
                            text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::bind_one(int position, double value) {
  check(sqlite3_bind_double(handle(), position, value));
}

void Statement::bind_one(int position, std::span<const std::byte> bytes) {
  check(sqlite3_bind_blob64(handle(), position,
                            bytes.empty() ? "" : static_cast<const void*>(bytes.data()),
                            bytes.size(), SQLITE_TRANSIENT));
}

void Statement::bind_integer(int position, std::int64_t value) {
  check(sqlite3_bind_int64(handle(), position, value));
}

Transaction::Transaction(Connection& connection, Kind kind) : connection_(connection), kind_(kind) {
  connection_.execute(kind == Kind::kWrite ? "BEGIN IMMEDIATE" : "BEGIN");
}

Transaction::~Transaction() {
  // Some failures (a full disk) have rolled back already.
  if (open_ && sqlite3_get_autocommit(connection_.handle()) == 0) {
    sqlite3_exec(connection_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

void Transaction::commit() {
  if (kind_ == Kind::kWrite) connection_.check_in_place();
  connection_.execute("COMMIT");
  open_ = false;
}

}  // namespace mnm::sqlite
