#include "db/schema_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "db/migrate.h"

namespace mnm {

extern const std::string_view kSchema;   // db/schema.sql
extern const std::string_view kSchema3;  // db/old_schema_3.sql
extern const std::string_view kSchema4;  // db/old_schema_4.sql, what version 4 was made of

namespace {

// By its name in small letters, as SQLite compares names, the statements that may have made it.
using Known = std::map<std::string, std::set<std::string>, std::less<>>;

// The end of the quoted text or comment that begins at `begin`; `begin` where none does.
std::size_t end_of_quoted(std::string_view sql, std::size_t begin) {
  const auto after = [&](std::string_view mark, std::size_t from) {
    const std::size_t found = sql.find(mark, from);
    return found == sql.npos ? sql.size() : found + mark.size();
  };
  switch (sql[begin]) {
    case '\'':
    case '"':
    case '`':
      return after(sql.substr(begin, 1), begin + 1);
    case '[':
      return after("]", begin + 1);
    default:
      return begin;
  }
}

// Without comments, and with one space between words.
std::string plain(std::string_view sql) {
  std::string text;
  for (std::size_t i = 0; i < sql.size();) {
    const std::string_view rest = sql.substr(i);
    if (rest.starts_with("--")) {
      i = std::min(sql.find('\n', i), sql.size());
    } else if (rest.starts_with("/*")) {
      const std::size_t end = sql.find("*/", i + 2);
      i = end == sql.npos ? sql.size() : end + 2;
    } else if (std::string_view(" \t\r\n\f").find(sql[i]) != sql.npos) {
      ++i;
    } else {
      const std::size_t end = std::max(end_of_quoted(sql, i), i + 1);
      // A gap stands for the comments and spaces before.
      const bool gap = i > 0 && std::string_view(" \t\r\n\f/").find(sql[i - 1]) != sql.npos;
      if (gap && !text.empty()) text += ' ';
      text += sql.substr(i, end - i);
      i = end;
    }
  }
  return text;
}

void add_objects(const sqlite::Connection& connection, Known& known) {
  sqlite::Statement row =
      connection.prepare("SELECT lower(name), sql FROM sqlite_schema WHERE sql IS NOT NULL");
  while (row.step()) known[row.string(0)].insert(plain(row.text(1)));
}

// Made in memory: what this version makes, what older ones made, and what becomes of those when
// they are brought along.
Known make_known() {
  const auto memory = [] {
    return sqlite::Connection(
        "the schema", ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY);
  };
  Known known;
  sqlite::Connection fresh = memory();
  fresh.execute(std::string(kSchema));
  add_objects(fresh, known);
  // Version 4 as it was made; version 3 as it was made and as it was brought to 4; then each of
  // them as it is brought to this version.
  for (const std::int64_t from : {std::int64_t{4}, std::int64_t{3}}) {
    sqlite::Connection brought = memory();
    brought.execute("PRAGMA legacy_alter_table = ON");
    if (from == 3) {
      brought.execute(std::string(kSchema3));
      add_objects(brought, known);
    }
    brought.execute(std::string(kSchema4));
    add_objects(brought, known);
    upgrade(brought, from);
    add_objects(brought, known);
  }
  return known;
}

}  // namespace

void check_schema(const sqlite::Connection& connection) {
  static const Known known = make_known();
  sqlite::Statement row = connection.prepare(
      "SELECT type, name, lower(name), sql, lower(tbl_name) FROM sqlite_schema "
      "WHERE sql IS NOT NULL");
  while (row.step()) {
    const auto ours = known.find(row.text(2));
    const bool is_index_of_ours = row.text(0) == "index" && known.contains(row.text(4));
    const bool allowed = ours == known.end() ? row.text(0) != "trigger" && !is_index_of_ours
                                             : ours->second.contains(plain(row.text(3)));
    if (allowed) continue;
    fail(
        "{} holds the {} '{}', which mixnmatch did not make: it would run whenever the store is "
        "used; {}restore a copy, or give a new name",
        connection.path().string(), row.text(0), row.text(1).substr(0, 100),
        is_index_of_ours ? "drop it if it is yours, " : "");
  }
}

}  // namespace mnm
