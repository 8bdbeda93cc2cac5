// Stores that a stranger made: nothing in them runs, deletes, writes elsewhere, hangs or exhausts.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "db/sqlite.h"
#include "db/store.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

using test::error_of;
using test::slurp;
using test::spew;

constexpr Store::Mode kModes[] = {Store::Mode::kRead, Store::Mode::kWrite};

#define EXPECT_SAYS(text, phrase) EXPECT_NE((text).find(phrase), std::string::npos) << (text)

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::uint32_t number(const std::string& bytes, std::size_t at, std::size_t length) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < length; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

void make(const fs::path& path, int records = 40) {
  Store store = Store::open(path, Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t data = store.data(test::data_row());
  const std::int64_t run = store.begin_run(test::run_row(model, data));
  std::vector<Score> batch;
  for (Width width = 1; width <= records; ++width) {
    batch.push_back(test::score({width}, 1.0 / width, width));
  }
  store.add(run, batch);
}

// A rollback journal of no pages that SQLite takes for one that a kill left, and that names `other`
// as the super-journal. https://sqlite.org/fileformat2.html, "The Rollback Journal".
std::string journal_naming(const fs::path& other, const fs::path& store) {
  const std::string magic("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"), name = other.string();
  const std::uint32_t page = number(slurp(store).substr(0, 18), 16, 2);
  const auto pages = static_cast<std::uint32_t>(fs::file_size(store) / page);
  std::string bytes = magic + big_endian(0) + big_endian(0) + big_endian(pages) + big_endian(512) +
                      big_endian(page);
  bytes.resize(512, '\0');
  std::uint32_t sum = 0;
  for (const char c : name) sum += static_cast<std::uint32_t>(static_cast<signed char>(c));
  const std::uint32_t lock_page = 0x40000000 / page + 1;
  return bytes + big_endian(lock_page) + name +
         big_endian(static_cast<std::uint32_t>(name.size())) + big_endian(sum) + magic;
}

// The store's own SQLite settings hold without the look at the journal too.
TEST(HostileStore, AJournalThatNamesAnotherFileDeletesNothing) {
  const test::TempDir directory;
  const auto path = directory / "results.db", victim = directory / "victim.txt";
  make(path);
  spew(victim, "a thesis");
  const std::string journal = journal_naming(victim, path);
  for (const Store::Mode mode : kModes) {
    spew(path.string() + "-journal", journal);
    EXPECT_SAYS(error_of([&] { Store::open(path, mode); }), "names another file");
    EXPECT_TRUE(fs::exists(victim));
    fs::remove(path.string() + "-journal");
    EXPECT_EQ(Store::open(path, mode).runs().size(), 1u);
  }
  spew(path.string() + "-journal", journal);
  {
    sqlite::Connection connection(path, path.string(), SQLITE_OPEN_READWRITE);
    EXPECT_SAYS(error_of([&] { connection.integer("PRAGMA user_version"); }), "cannot be opened");
  }
  EXPECT_TRUE(fs::exists(victim));
  // The journal is one that SQLite would follow: with its own settings it does.
  spew(path.string() + "-journal", journal);
  test::query(path, "PRAGMA user_version");
  EXPECT_FALSE(fs::exists(victim));
}

TEST(HostileStore, ALinkInTheJournalsPlaceIsNotWrittenThrough) {
  const test::TempDir directory;
  const auto path = directory / "results.db", victim = directory / "victim.txt";
  make(path);
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    for (const fs::path& target : {victim, directory / "gone"}) {
      spew(victim, "a thesis");
      const fs::path link = path.string() + suffix;
      fs::create_symlink(target, link);
      for (const Store::Mode mode : kModes) {
        EXPECT_SAYS(error_of([&] { Store::open(path, mode); }), "remove it") << suffix;
      }
      EXPECT_EQ(slurp(victim), "a thesis");
      EXPECT_FALSE(fs::exists(directory / "gone"));
      fs::remove(link);
    }
  }
}

// Each would hang, exhaust memory or undo what was stored if it ran.
TEST(HostileStore, ForeignViewsTriggersAndTablesOfOurNamesAreRefused) {
  const std::string endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) ";
  const std::vector<std::string> changes = {
      "DROP VIEW data_use; CREATE VIEW data_use AS " + endless +
          "SELECT x AS model, x AS data, 'search' AS part FROM c",
      "DROP VIEW data_use; CREATE VIEW Data_Use AS " + endless +
          "SELECT x AS model, x AS data, 'search' AS part FROM c",
      "ALTER TABLE record RENAME TO r0; CREATE VIEW record AS SELECT * FROM r0 WHERE id IN (" +
          endless + "SELECT -x FROM c)",
      "ALTER TABLE model RENAME TO m0; CREATE VIEW model AS SELECT id, fingerprint, "
      "hex(zeroblob(450000000)) AS name, family, config, granularities FROM m0",
      "CREATE TRIGGER t AFTER INSERT ON run BEGIN INSERT INTO member SELECT 1, x, x, 1 FROM (" +
          endless + "SELECT x FROM c); END",
      "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM example_scores; END",
      "CREATE TRIGGER record_stays BEFORE UPDATE ON record BEGIN DELETE FROM example_scores; END",
      "DROP VIEW latency_stands; CREATE VIEW latency_stands AS " + endless +
          "SELECT x AS model, x AS latency FROM c",
      "DROP TABLE example_scores; CREATE TABLE example_scores (record, metric, f32 BLOB)",
      "CREATE INDEX zz ON score (value)",
      "CREATE INDEX zz ON Record (hex(zeroblob(100 + 0 * id)))",
      "CREATE UNIQUE INDEX zz ON run (seed) WHERE 1 / 0",
  };
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  const std::string sound = slurp(path);
  for (const std::string& change : changes) {
    spew(path, sound);
    test::query(path,
                "PRAGMA journal_mode = DELETE; PRAGMA foreign_keys = OFF; "
                "PRAGMA legacy_alter_table = ON; DROP TRIGGER record_stays; "
                "DROP TRIGGER record_is_kept; " +
                    change);
    const std::string before = slurp(path);
    for (const Store::Mode mode : kModes) {
      EXPECT_SAYS(error_of([&] { Store::open(path, mode); }), "mixnmatch did not make") << change;
    }
    EXPECT_EQ(slurp(path), before) << change;
  }
}

TEST(HostileStore, WhatAUserAddedUnderOtherNamesIsLetBe) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  test::query(path,
              "CREATE TABLE mine (a); CREATE INDEX by_a ON mine (a); "
              "CREATE VIEW best AS SELECT * FROM pareto; ANALYZE");
  for (const Store::Mode mode : kModes) EXPECT_EQ(Store::open(path, mode).runs().size(), 1u);
  // What sqlite3's .recover and VACUUM make of it counts as the same.
  test::query(path, "VACUUM INTO '" + (directory / "copy.db").string() + "'");
  EXPECT_EQ(Store::open(directory / "copy.db", Store::Mode::kWrite).runs().size(), 1u);
}

TEST(HostileStore, TheViewOfOlderVersionsIsKnown) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  test::make_version_4(path);
  test::make_version_3(path);
  for (const Store::Mode mode : kModes) EXPECT_EQ(Store::open(path, mode).runs().size(), 5u);
}

TEST(HostileStore, ValuesThatNoStoreHoldsAreNamedAtOnce) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  // 70 MB: past the largest value, and small enough for a test.
  test::query(path,
              "UPDATE model SET name = hex(zeroblob(35000000)); "
              "UPDATE example_scores SET f32 = zeroblob(70000000) WHERE record = 1");
  const Store store = Store::open(path, Store::Mode::kRead);
  EXPECT_SAYS(error_of([&] { store.models(); }), "a value of more than");
  EXPECT_SAYS(error_of([&] { store.per_example(1, Metric::kLoss); }), "a value of more than");
  EXPECT_EQ(store.runs().size(), 1u);
}

// Paired comparisons of so many zeros would have no error at all.
TEST(HostileStore, ValuesPerExampleOfAnotherNumberThanTheDataHaveAreDamage) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  for (const std::string values : {"zeroblob(1000000)", "zeroblob(12)", "zeroblob(20)", "x''"}) {
    test::query(path, "UPDATE example_scores SET f32 = " + values + " WHERE record = 2");
    for (const Store::Mode mode : kModes) {
      const Store store = Store::open(path, mode);
      EXPECT_SAYS(error_of([&] { store.per_example(2, Metric::kLoss); }), "is damaged: record 2")
          << values;
      EXPECT_SAYS(error_of([&] { store.per_example(2, Metric::kLoss); }), "have 4 examples");
      EXPECT_EQ(store.per_example(1, Metric::kLoss).size(), 4u);
      EXPECT_TRUE(store.per_example(2, Metric::kKl).empty()) << "those are not kept";
    }
  }
  test::query(path, "UPDATE data SET sequences = 5");
  const Store store = Store::open(path, Store::Mode::kRead);
  EXPECT_SAYS(error_of([&] { store.per_example(1, Metric::kLoss); }), "4 values of loss");
}

TEST(HostileStore, ARecordThatIsTheLastThereCanBeIsNamed) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  test::query(path, "UPDATE run_record SET position = 9223372036854775807 WHERE position = 39");
  Store store = Store::open(path, Store::Mode::kWrite);
  const std::string error = error_of([&] { store.add(1, std::vector{test::score({7, 7}, 1, 5)}); });
  EXPECT_SAYS(error, path.string() + " is damaged: its run 1 has a record at position");
}

// Inner pages of a table's tree whose cells all lead to one and the same page below: a few pages,
// and more rows than anybody can wait for. https://sqlite.org/fileformat2.html, "B-tree Pages".
TEST(HostileStore, ATreeThatLeadsToTheSamePagesAgainIsNoEndlessTable) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  test::query(path, "PRAGMA journal_mode = DELETE");
  const auto root = static_cast<std::uint32_t>(
      std::stoul(test::cell(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'run'")));
  std::string bytes = slurp(path);
  const std::uint32_t page = number(bytes, 16, 2), cells = 300;
  auto pages = static_cast<std::uint32_t>(bytes.size() / page);
  const std::string leaf = bytes.substr((root - 1) * page, page);
  bytes += leaf;
  std::uint32_t below = ++pages;
  const auto inner_page = [&] {
    std::string inner(page, '\0');
    const std::uint32_t first = page - cells * 5;
    const std::string header = std::string("\x05\0\0", 3) + big_endian(cells).substr(2) +
                               big_endian(first).substr(2) + std::string(1, '\0') +
                               big_endian(below);
    inner.replace(0, header.size(), header);
    for (std::uint32_t i = 0; i < cells; ++i) {
      const std::uint32_t at = first + i * 5;
      inner.replace(header.size() + i * 2, 2, big_endian(at).substr(2));
      inner.replace(at, 5, big_endian(below) + std::string(1, '\x01'));
    }
    return inner;
  };
  for (int level = 0; level < 5; ++level) {
    bytes += inner_page();
    below = ++pages;
  }
  bytes.replace((root - 1) * page, page, inner_page());
  bytes.replace(28, 4, big_endian(pages));
  spew(path, bytes);
  const Store store = Store::open(path, Store::Mode::kRead);
  const std::string error = error_of([&] { store.runs(); });
  EXPECT_SAYS(error, path.string());
  EXPECT_TRUE(error.find("more steps") != error.npos || error.find("more text") != error.npos)
      << error;
}

// What a kill in mid-commit leaves before a store is in WAL mode.
void leave_hot_journal(const fs::path& path) {
  test::query(path, "PRAGMA journal_mode = DELETE");
  const pid_t child = fork();
  if (child == 0) {
    sqlite3* handle = nullptr;
    sqlite3_open(path.c_str(), &handle);
    sqlite3_exec(handle,
                 "PRAGMA cache_size = 2; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; "
                 "CREATE TABLE spill (x); "
                 "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200) "
                 "INSERT INTO spill SELECT zeroblob(4000) FROM c",
                 nullptr, nullptr, nullptr);
    _exit(9);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_GT(fs::file_size(path.string() + "-journal"), 512u);
}

TEST(HostileStore, TheJournalOfAnotherProgramsDatabaseIsItsOwnBusiness) {
  for (const Store::Mode mode : kModes) {
    const test::TempDir directory;
    const auto path = directory / "theirs.db";
    spew(path, "");
    test::query(path, "CREATE TABLE photos (name); INSERT INTO photos VALUES ('summer')");
    leave_hot_journal(path);
    const std::string file = slurp(path), journal = slurp(path.string() + "-journal");
    EXPECT_SAYS(error_of([&] { Store::open(path, mode); }), "another program");
    EXPECT_EQ(slurp(path), file);
    EXPECT_EQ(slurp(path.string() + "-journal"), journal);
  }
}

TEST(HostileStore, AHotJournalIsHealedByReaders) {
  for (const Store::Mode mode : kModes) {
    const test::TempDir directory;
    const auto path = directory / "results.db";
    make(path);
    leave_hot_journal(path);
    const Store store = Store::open(path, mode);
    EXPECT_EQ(store.runs().size(), 1u);
    EXPECT_EQ(store.records_of(1).size(), 40u);
    EXPECT_FALSE(fs::exists(path.string() + "-journal"));
    EXPECT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
  }
}

}  // namespace
}  // namespace mnm
