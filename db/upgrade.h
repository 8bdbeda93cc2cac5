// An older store becomes one of this version.
#pragma once

#include <cstdint>

#include "db/sqlite.h"

namespace mnm {

// Within a transaction that writes, without foreign keys and with SQLite's legacy_alter_table,
// since tables are renamed and made anew under their old names. `from`: the version it has, 2 or
// later. All that the store said it says afterwards: records, scores, fronts, and which runs were
// one search.
void upgrade(sqlite::Connection& store, std::int64_t from);

}  // namespace mnm
