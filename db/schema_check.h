// Checks that a store's tables, views and triggers are those that this program makes.
#pragma once

#include "db/sqlite.h"

namespace mnm {

// Compares the file's schema with db/schema.sql and with the schemas of older versions, except for
// comments and spaces. Call it before any other query, because a trigger, an index, or a view in
// the place of a table, is a program that comes with the file. Error if something with one of our
// names is not ours, or if there is a trigger, or an index of one of our tables, that is not ours.
// Tables and views with other names, and indices of such tables, are allowed, since no statement of
// ours reaches them.
void check_schema(const sqlite::Connection& connection);

}  // namespace mnm
