// SQLite's C interface as values: a connection, a prepared statement, a transaction. Every failure
// becomes one Error, which names the file, what is wrong with it and what to do.
//
// A file is hostile, even after its schema was compared (db/schema_check.h). For instance, pages
// that lead to each other in a circle make a small table endless. So every statement has a budget
// of steps and of text, which grows with the size of the file; values have a largest length; and
// SQLite opens no file but the store's own (db/vfs.h).
#pragma once

#include <sqlite3.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mnm::sqlite {

class Statement;

// What a statement has used since it began.
struct StatementUsage {
  std::int64_t steps = 0;  // of SQLite's virtual machine
  std::int64_t bytes = 0;  // of text and blobs handed out
};

// Used by one thread at a time.
class Connection {
 public:
  // `uri` is passed to sqlite3_open_v2 with SQLITE_OPEN_URI. `path` is the name in errors.
  Connection(std::filesystem::path path, const std::string& uri, int flags);

  const std::filesystem::path& path() const { return path_; }
  sqlite3* handle() const { return handle_.get(); }

  void execute(const std::string& sql);  // any number of statements without results
  Statement prepare(std::string_view sql) const;
  std::int64_t integer(std::string_view sql) const;  // of the one row and column it gives
  std::int64_t last_id() const { return sqlite3_last_insert_rowid(handle()); }
  std::int64_t changes() const { return sqlite3_changes64(handle()); }

  [[noreturn]] void fail() const;  // the last failure, as an Error
  // Error if `path` no longer leads to the open file.
  void check_in_place() const;

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  // The budget: more than a sound store of this size ever needs. It stays at one address while the
  // connection moves.
  struct Budget {
    std::filesystem::path path;
    StatementUsage* running = nullptr;  // of the statement that steps now
    StatementUsage other;               // of what SQLite runs by itself, such as reading the schema
    std::int64_t steps = 0, bytes = 0;

    void grow();  // to the files' size now
    static int on_progress(void* self);
  };
  void set_defences();
  void charge_text(StatementUsage& usage, std::int64_t bytes) const;  // Error past the budget

  std::filesystem::path path_;
  std::unique_ptr<Budget> budget_;
  std::unique_ptr<sqlite3, Close> handle_;
};

// Parameters are set by position from 1, and columns are read by position from 0. Texts and blobs
// are copied when they are set.
class Statement {
 public:
  Statement(const Connection& connection, std::string_view sql);

  template <typename... Values>
  Statement& bind(const Values&... values) {
    reset();
    int position = 0;
    (bind_one(++position, values), ...);
    return *this;
  }

  bool step();  // whether there is a row
  void run();   // steps to the end, then resets
  void reset();

  std::int64_t integer(int column) const { return sqlite3_column_int64(handle(), column); }
  double real(int column) const { return sqlite3_column_double(handle(), column); }
  std::string_view text(int column) const;
  std::string string(int column) const { return std::string(text(column)); }
  std::span<const std::byte> blob(int column) const;
  bool null(int column) const { return sqlite3_column_type(handle(), column) == SQLITE_NULL; }

  void bind_one(int position, std::nullopt_t);
  void bind_one(int position, std::string_view text);
  void bind_one(int position, double value);
  void bind_one(int position, std::span<const std::byte> bytes);
  template <std::integral Integer>
  void bind_one(int position, Integer value) {
    bind_integer(position, static_cast<std::int64_t>(value));
  }
  template <typename Value>
  void bind_one(int position, const std::optional<Value>& value) {
    value ? bind_one(position, *value) : bind_one(position, std::nullopt);
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
  };
  sqlite3_stmt* handle() const { return handle_.get(); }
  void bind_integer(int position, std::int64_t value);
  void check(int code) const;

  const Connection* connection_;
  mutable StatementUsage usage_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

// A transaction, which is rolled back unless it is committed. kWrite takes the write lock at once,
// so what is read inside still holds when it writes. kWrite does not commit to a file that has lost
// its name, where nobody would find the data.
class Transaction {
 public:
  enum class Kind : std::uint8_t { kRead, kWrite };
  Transaction(Connection& connection, Kind kind);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();
  void commit();

 private:
  Connection& connection_;
  Kind kind_;
  bool open_ = true;
};

}  // namespace mnm::sqlite
