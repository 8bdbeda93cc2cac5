// Whether a store's tables, views and triggers are those that this program made.
#pragma once

#include "db/sqlite.h"

namespace mnm {

// Compares what the file's schema says with db/schema.sql and with what older versions had
// otherwise, but for comments and spaces. To be called before any other query: a view in the place
// of a table, or a trigger, is a program that the file brings along. Error: something that has one
// of our names is not ours; a trigger that is not ours. Tables, views and indices of other names
// are let be: no statement of ours reaches them.
void check_schema(const sqlite::Connection& connection);

}  // namespace mnm
