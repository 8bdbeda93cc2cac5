// Shared by the source files of the store.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "db/fronts.h"
#include "db/process.h"
#include "db/sqlite.h"
#include "db/store.h"
#include "db/store_file.h"

namespace mnm {

// A damaged file's counts must not run away with memory.
inline constexpr std::size_t kMaxLayers = 1 << 16;

struct Store::Impl {
  Impl(std::filesystem::path file_path, Mode file_mode, std::chrono::milliseconds wait);

  std::filesystem::path path;
  Mode mode;
  std::chrono::milliseconds patience;
  std::optional<StoreFile> file;
  std::int64_t version = 0;  // of the open file's schema
  std::map<std::string, sqlite::Statement, std::less<>> statements;
  Process self = this_process();
  Fronts fronts;

  // Prepares a statement on first use and keeps it while the file is open. The caller resets it
  // when done.
  sqlite::Statement& statement(std::string_view sql);
  void reopen();

  // Runs `body`; all that it reads belongs to one state of the store.
  template <typename Body>
  auto read(const Body& body);
  // Runs `body`; all that it writes is stored, or nothing is.
  template <typename Body>
  auto write(const Body& body);
};

// Where the open file holds scores. A store of version 4 that is only read has columns where later
// versions have the table score.
struct ScoreColumns {
  std::string join;  // after the tables that a query reads; "" where there is nothing to join
  std::string status, value, error;
};
ScoreColumns score_columns(const Store::Impl& store, Metric metric);

// "SELECT ... FROM source LEFT JOIN ... rest". The source names the table record r. record_of reads
// the rows.
std::string select_records(const Store::Impl& store, std::string_view source,
                           std::string_view rest);
Record record_of(const Store::Impl& store, const sqlite::Statement& row);

// Call it within a transaction. Error unless the run is running and this process owns it.
void require_owned(Store::Impl& store, std::int64_t run);

Dtype dtype_of(const Store::Impl& store, std::string_view text);
Widths widths_of(const Store::Impl& store, std::string_view text);

template <typename Body>
auto Store::Impl::read(const Body& body) {
  for (int attempt = 0;; ++attempt) {
    try {
      sqlite::Transaction transaction(file->connection(), sqlite::Transaction::Kind::kRead);
      if (version < 6) version = file->version();  // another process may have written to it
      auto result = body();
      if (file->settled() || attempt == 100) return result;
    } catch (const Error&) {
      if (file->settled() || attempt == 100) throw;
    }
    reopen();
  }
}

template <typename Body>
auto Store::Impl::write(const Body& body) {
  if (mode != Mode::kWrite) fail("{} was opened to be read, and cannot be written", path.string());
  sqlite::Transaction transaction(file->connection(), sqlite::Transaction::Kind::kWrite);
  fronts.begin();
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      transaction.commit();
    } else {
      auto result = body();
      transaction.commit();
      return result;
    }
  } catch (...) {
    fronts.forget();
    throw;
  }
}

}  // namespace mnm
