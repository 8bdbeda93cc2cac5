// What the store's source files share.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "db/fronts.h"
#include "db/process.h"
#include "db/sqlite.h"
#include "db/store.h"
#include "db/store_file.h"
#include "model/error.h"

namespace mnm {

struct Store::Impl {
  Impl(std::filesystem::path file_path, Mode file_mode, std::chrono::milliseconds wait);

  std::filesystem::path path;
  Mode mode;
  std::chrono::milliseconds patience;
  std::optional<StoreFile> file;
  std::map<std::string, sqlite::Statement, std::less<>> statements;
  Process self = this_process();
  Fronts fronts;

  // Prepared on first use, kept while the file is open. A caller resets it when done.
  sqlite::Statement& statement(std::string_view sql);
  void reopen();

  // All that `body` reads is of one state of the store.
  template <typename Body>
  auto read(const Body& body);
  // All that `body` writes is stored, or nothing is.
  template <typename Body>
  auto write(const Body& body);
};

// The columns of table record, in the order that record_of reads them from a row.
inline constexpr std::string_view kRecordColumns =
    "r.id, r.model, r.data, r.dtype, r.widths, r.status, r.samples, r.loss, r.loss_se, r.kl, "
    "r.kl_se, r.agreement, r.agreement_se, r.params, r.non_embedding, r.bytes, r.flops, "
    "r.kv_bytes, r.state_bytes";
Record record_of(const Store::Impl& store, const sqlite::Statement& row);

// Within a transaction. Error unless the run is running and this process owns it.
void require_owned(Store::Impl& store, std::int64_t run);

Dtype dtype_of(const Store::Impl& store, std::string_view text);
Widths widths_of(const Store::Impl& store, std::string_view text);

template <typename Body>
auto Store::Impl::read(const Body& body) {
  for (int attempt = 0;; ++attempt) {
    try {
      sqlite::Transaction transaction(file->connection(), sqlite::Transaction::Kind::kRead);
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
