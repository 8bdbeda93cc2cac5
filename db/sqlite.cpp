#include "db/sqlite.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "db/vfs.h"

namespace mnm::sqlite {
namespace {

constexpr int kStepsAtOnce = 10'000;
// A record of some 150 bytes is found, read, filtered and sorted in less than 300 steps; text is
// handed out once or twice.
constexpr std::int64_t kLeastSteps = 5'000'000, kStepsPerByte = 16;
constexpr std::int64_t kLeastBytes = std::int64_t{16} << 20, kBytesPerByte = 16;
// The losses of 16 million sequences.
constexpr int kLongestValue = 64 << 20;
constexpr int kLongestStatement = 1 << 20;
// SQLite's own caches and sorters stay far below: what is sorted goes to files past the page cache.
constexpr sqlite3_int64 kLargestHeap = sqlite3_int64{1} << 30;

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
          "writing {} failed, the disk is full: free some space, then resume the run if 'mixnmatch "
          "runs' lists it, else repeat the command; nothing that was stored before is lost",
          name);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      mnm::fail("{} stayed locked by another process for too long: try again when that is done",
                name);
    case SQLITE_INTERRUPT:
      mnm::fail(
          "{} is damaged: a query takes more steps than a store of its size needs; restore a "
          "copy",
          name);
    case SQLITE_TOOBIG:
      mnm::fail(
          "{} is damaged: it holds a value of more than {} MiB, which a store never does; "
          "restore a copy",
          name, kLongestValue >> 20);
    case SQLITE_READONLY:
      if (code == SQLITE_READONLY_ROLLBACK) {
        mnm::fail(
            "{} was left in the middle of a write by a program that was killed, and cannot be "
            "healed by whoever may only read it: run the same command as somebody who may write it "
            "and its directory",
            name);
      }
      [[fallthrough]];
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
    : path_(std::move(path)), budget_(std::make_unique<Budget>()) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(uri.c_str(), &handle,
                                   flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, own_files_vfs());
  handle_.reset(handle);
  if (handle == nullptr) mnm::fail("{} cannot be opened: out of memory", path_.string());
  if (code != SQLITE_OK) fail();
  set_defences();
}

void Connection::set_defences() {
  sqlite3* handle = handle_.get();
  // What is in the file's schema may call nothing with effects, and write nothing past a statement.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, kLongestValue);
  sqlite3_limit(handle, SQLITE_LIMIT_SQL_LENGTH, kLongestStatement);
  sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(handle, SQLITE_LIMIT_TRIGGER_DEPTH, 4);
  sqlite3_hard_heap_limit64(kLargestHeap);
  budget_->path = path_;
  budget_->grow();
  sqlite3_progress_handler(handle, kStepsAtOnce, &Budget::on_progress, budget_.get());
}

void Connection::Budget::grow() {
  std::int64_t size = 0;
  for (const char* suffix : {"", "-wal"}) {
    std::error_code error;
    const auto found = std::filesystem::file_size(path.string() + suffix, error);
    if (!error) size += static_cast<std::int64_t>(std::min<std::uintmax_t>(found, 1ULL << 50));
  }
  steps = kLeastSteps + kStepsPerByte * size;
  bytes = kLeastBytes + kBytesPerByte * size;
}

// What runs without a statement of ours, such as the reading of the schema, is counted from one
// statement to the next.
int Connection::Budget::on_progress(void* self) {
  auto& budget = *static_cast<Budget*>(self);
  if (budget.running == nullptr) budget.running = &budget.other;
  budget.running->steps += kStepsAtOnce;
  if (budget.running->steps > budget.steps) budget.grow();
  return budget.running->steps > budget.steps;
}

void Connection::charge_text(StatementUsage& usage, std::int64_t bytes) const {
  usage.bytes += bytes;
  if (usage.bytes > budget_->bytes) budget_->grow();
  if (usage.bytes > budget_->bytes) {
    mnm::fail(
        "{} is damaged: a query gives more text than a store of its size holds; restore a "
        "copy",
        path_.string());
  }
}

void Connection::execute(const std::string& sql) {
  budget_->other = {};
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
  connection.budget_->other = {};
  const int code = sqlite3_prepare_v3(connection.handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  handle_.reset(handle);
  check(code);
}

void Statement::check(int code) const {
  if (code != SQLITE_OK) connection_->fail();
}

bool Statement::step() {
  connection_->budget_->running = &usage_;
  const int code = sqlite3_step(handle());
  connection_->budget_->running = nullptr;
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
void Statement::reset() {
  sqlite3_reset(handle());
  usage_ = {};
}

std::string_view Statement::text(int column) const {
  const auto* text = sqlite3_column_text(handle(), column);
  if (text == nullptr) return {};
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle(), column));
  connection_->charge_text(usage_, static_cast<std::int64_t>(size));
  return {reinterpret_cast<const char*>(text), size};
}

std::span<const std::byte> Statement::blob(int column) const {
  const void* bytes = sqlite3_column_blob(handle(), column);
  if (bytes == nullptr) return {};
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle(), column));
  connection_->charge_text(usage_, static_cast<std::int64_t>(size));
  return {static_cast<const std::byte*>(bytes), size};
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
