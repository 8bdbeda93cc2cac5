// Brings an older store to this version.
#pragma once

#include <cstdint>

#include "db/sqlite.h"

namespace mnm {

// Call it within a writing transaction, without foreign keys and with SQLite's legacy_alter_table,
// because tables are renamed and made anew under their old names. `from` is the version that the
// store has, 2 or later. The store says afterwards all that it said before: records, scores,
// fronts, and which runs belong to one search.
void upgrade(sqlite::Connection& store, std::int64_t from);

}  // namespace mnm
