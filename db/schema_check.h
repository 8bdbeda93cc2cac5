// Checks that a store's tables, views and triggers are those that this program makes.
#pragma once

#include "db/sqlite.h"

namespace mnm {

// Compares the file's schema with db/schema.sql and with the schemas of older versions, except for
// comments and spaces. Call it before any other query, because a trigger, or a view in the place of
// a table, is a program that comes with the file. Error if something with one of our names is not
// ours, or if there is a trigger that is not ours. Tables, views and indices with other names are
// allowed, since no statement of ours reaches them.
void check_schema(const sqlite::Connection& connection);

}  // namespace mnm
