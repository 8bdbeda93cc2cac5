// Files that are no store, and places where none can be kept.
#include "db/store_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "db/store.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::error_of;
using test::slurp;
using test::spew;

constexpr Store::Mode kModes[] = {Store::Mode::kRead, Store::Mode::kWrite};

#define EXPECT_SAYS(text, phrase) EXPECT_NE((text).find(phrase), std::string::npos) << (text)

std::set<std::string> names_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// A run of `records` records.
std::int64_t fill(Store& store, int records) {
  const std::int64_t model = store.model(test::model_row());
  const std::int64_t data = store.data(test::data_row());
  const std::int64_t run = store.begin_run(test::run_row(model, data));
  std::vector<Score> batch;
  for (Width width = 1; width <= records; ++width) {
    batch.push_back(test::score({width}, 1.0 / width, width));
  }
  store.add(run, batch);
  return run;
}

void make(const std::filesystem::path& path, int records = 40) {
  Store store = Store::open(path, Store::Mode::kWrite);
  fill(store, records);
}

// All that a store can be asked.
void read_all(const Store& store) {
  store.models();
  store.datasets();
  for (const RunRow& run : store.runs()) {
    for (const Record& record : store.records_of(run.id))
      store.per_example(record.id, Metric::kLoss);
  }
  for (const bool all : {false, true}) {
    FrontQuery query;
    query.all = all;
    store.front(query);
  }
  store.artifacts();
}

TEST(StoreFile, OneThatIsNoDatabaseIsNamedAndLeftAsItIs) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  std::mt19937 random(1);
  std::string noise(5000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  for (const std::string& content :
       {std::string("x"), std::string("SQLite format 2"), std::string(100, '\0'),
        std::string("{\"a\": 1}\n"), noise, std::string("SQLite format 3\0", 16) + noise}) {
    spew(path, content);
    for (const Store::Mode mode : kModes) {
      const std::string error = error_of([&] { Store::open(path, mode); });
      EXPECT_SAYS(error, path.string());
      EXPECT_EQ(error.find('\n'), std::string::npos);
    }
    EXPECT_EQ(slurp(path), content);
    EXPECT_EQ(names_in(directory.path()), std::set<std::string>{"results.db"});
  }
  spew(path, "");
  EXPECT_SAYS(error_of([&] { Store::open(path, Store::Mode::kRead); }), "empty");
  EXPECT_SAYS(error_of([&] { Store::open(directory / "none.db", Store::Mode::kRead); }), "no ");
  EXPECT_SAYS(error_of([&] { Store::open(directory / "no/dir.db", Store::Mode::kWrite); }),
              "no directory");
  for (const Store::Mode mode : kModes) {
    EXPECT_SAYS(error_of([&] { Store::open(directory.path(), mode); }), "not a file");
    EXPECT_SAYS(error_of([&] { Store::open("/dev/null", mode); }), "not a file");
  }
}

TEST(StoreFile, WhetherItCanBeWrittenIsSaidWithoutMakingIt) {
  const test::TempDir directory;
  Store::require_writable(directory / "new.db");
  EXPECT_TRUE(names_in(directory.path()).empty());
  spew(directory / "empty.db", "");
  Store::require_writable(directory / "empty.db");
  EXPECT_EQ(slurp(directory / "empty.db"), "");
  make(directory / "store.db");
  Store::require_writable(directory / "store.db");
  spew(directory / "noise.db", "x");
  const std::pair<std::filesystem::path, const char*> refused[] = {
      {directory / "no/dir.db", "no directory"},
      {directory.path(), "not a file"},
      {"/dev/null", "not a file"},
      {directory / "noise.db", "not a database"},
      {directory / "store.db-wal", "journal of the store"}};
  for (const auto& [path, why] : refused) {
    const std::string error = error_of([&, at = path] { Store::require_writable(at); });
    EXPECT_SAYS(error, why);
  }
}

TEST(StoreFile, AnotherVersionAndAnotherProgramAreNamed) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  test::query(path, "PRAGMA user_version = 7; PRAGMA journal_mode = DELETE");
  for (const Store::Mode mode : kModes) {
    const std::string error = error_of([&] { Store::open(path, mode); });
    EXPECT_SAYS(error, "version 7");
    EXPECT_SAYS(error, "versions 2 to 6");
  }
  for (const char* sql :
       {"PRAGMA application_id = 17", "PRAGMA application_id = 0; PRAGMA user_version = 0"}) {
    test::query(path, sql);
    for (const Store::Mode mode : kModes) {
      EXPECT_SAYS(error_of([&] { Store::open(path, mode); }), "another program");
    }
  }
  // Nothing in it but another program's mark: not ours to fill.
  std::ofstream(directory / "theirs.db").close();
  test::query(directory / "theirs.db", "PRAGMA application_id = 17");
  for (const Store::Mode mode : kModes) {
    EXPECT_SAYS(error_of([&] { Store::open(directory / "theirs.db", mode); }), "another program");
  }
}

TEST(StoreFile, TruncatedAtAnyLengthIsAnError) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path, 200);
  const std::string whole = slurp(path);
  ASSERT_GT(whole.size(), 20u * 4096);
  std::vector<std::size_t> lengths = {1, 15, 16, 17, 99, 100, 101, 4095, 4096, 4097};
  for (std::size_t length = 200; length < whole.size(); length += 1237) lengths.push_back(length);
  lengths.push_back(whole.size() - 1);
  for (const std::size_t length : lengths) {
    spew(path, std::string_view(whole).substr(0, length));
    for (const Store::Mode mode : kModes) {
      const std::string error = error_of([&] { Store::open(path, mode); });
      EXPECT_SAYS(error, "truncated") << length;
      EXPECT_SAYS(error, path.string());
    }
    EXPECT_EQ(std::filesystem::file_size(path), length);
  }
  spew(path, whole);
  read_all(Store::open(path, Store::Mode::kRead));
}

// Whatever the bytes, there is an answer or one Error: no crash, no other exception, no endless
// work.
TEST(StoreFile, DamagedAnywhereIsReadOrRefused) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path, 100);
  const std::string whole = slurp(path);
  std::mt19937 random(5);
  int refused = 0;
  for (int i = 0; i < 150; ++i) {
    std::string bytes = whole;
    const std::size_t at = i < 100 ? static_cast<std::size_t>(i) : random() % bytes.size();
    for (std::size_t k = 0; k < (i % 3 == 0 ? 40u : 1u) && at + k < bytes.size(); ++k) {
      bytes[at + k] = static_cast<char>(random());
    }
    spew(path, bytes);
    try {
      read_all(Store::open(path, Store::Mode::kRead));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 20);

  // Sound as a database, wrong as a store.
  const char* const cases[] = {"UPDATE record SET widths = '4x99999999999' WHERE id = 1",
                               "UPDATE record SET widths = 'x' WHERE id = 1",
                               "UPDATE record SET widths = '1x65536,1x65536' WHERE id = 1",
                               "UPDATE run SET dtype = 'f64'",
                               "DROP TABLE member",
                               "DROP TABLE example_scores"};
  for (const char* sql : cases) {
    spew(path, whole);
    test::query(path,
                std::string("DROP TRIGGER record_stays; PRAGMA ignore_check_constraints = ON; ") +
                    sql + "; PRAGMA wal_checkpoint(TRUNCATE)");
    EXPECT_SAYS(error_of([&] { read_all(Store::open(path, Store::Mode::kRead)); }), path.string());
  }
}

TEST(StoreFile, ReadingLeavesNoTrace) {
  const test::TempDir directory;
  const auto path = directory / "results ?#%41.db";  // a name that a URI must escape
  make(path);
  const std::set<std::string> alone = names_in(directory.path());
  ASSERT_EQ(alone.size(), 1u);
  const std::string before = slurp(path);
  {
    const Store store = Store::open(path, Store::Mode::kRead);
    read_all(store);
    EXPECT_EQ(names_in(directory.path()), alone);
  }
  EXPECT_EQ(names_in(directory.path()), alone);
  EXPECT_EQ(slurp(path), before);

  std::filesystem::create_symlink(path, directory / "link.db");
  EXPECT_EQ(Store::open(directory / "link.db", Store::Mode::kRead).runs().size(), 1u);
  EXPECT_EQ(names_in(directory.path()).size(), 2u);
}

// What a kill leaves: a journal that holds what the file does not.
TEST(StoreFile, AnUnfinishedJournalIsReadWithoutATrace) {
  const test::TempDir live, copy;
  const auto path = copy / "results.db";
  std::size_t journal = 0;
  {
    Store store = Store::open(live / "results.db", Store::Mode::kWrite);
    const std::int64_t run = fill(store, 40);
    ASSERT_EQ(store.records_of(run).size(), 40u);
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::copy(live / (std::string("results.db") + suffix), path.string() + suffix);
    }
    journal = std::filesystem::file_size(path.string() + "-wal");
    ASSERT_GT(journal, 0u);
  }
  for (const bool with_shared_memory : {true, false}) {
    if (!with_shared_memory) std::filesystem::remove(path.string() + "-shm");
    const std::set<std::string> names = names_in(copy.path());
    const std::string before = slurp(path);
    for (int i = 0; i < 2; ++i) {
      const Store store = Store::open(path, Store::Mode::kRead);
      EXPECT_EQ(store.records_of(1).size(), 40u);
      read_all(store);
    }
    EXPECT_EQ(names_in(copy.path()), names);
    EXPECT_EQ(slurp(path), before);
    EXPECT_EQ(std::filesystem::file_size(path.string() + "-wal"), journal);
  }
  // A writer takes the journal in and leaves one file.
  Store::open(path, Store::Mode::kWrite).resume_run(1);
  EXPECT_EQ(names_in(copy.path()), std::set<std::string>{"results.db"});
  EXPECT_EQ(Store::open(path, Store::Mode::kRead).records_of(1).size(), 40u);
}

TEST(StoreFile, AReaderFollowsAWriterThatCameLater) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path, 1);
  const Store reader = Store::open(path, Store::Mode::kRead);
  EXPECT_EQ(reader.runs().size(), 1u);
  {
    Store writer = Store::open(path, Store::Mode::kWrite);
    fill(writer, 30);
    EXPECT_EQ(reader.runs().size(), 2u);
    fill(writer, 30);
    EXPECT_EQ(reader.runs().size(), 3u);
  }
  EXPECT_EQ(reader.runs().size(), 3u);
  FrontQuery all;
  all.all = true;
  EXPECT_EQ(reader.front(all).size(), 30u);
}

// As somebody whom permissions bind, which they do not bind root.
void unprivileged(const std::function<void()>& body) {
  const uid_t self = geteuid();
  if (self == 0) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  body();
  if (self == 0) {
    ASSERT_EQ(seteuid(self), 0);
  }
}

TEST(StoreFile, ReadOnlyPlacesAreReadAndNamedWhenWritten) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  const auto root = directory.path();
  const auto open_mode = [&](mode_t file, mode_t folder) {
    ASSERT_EQ(chmod(path.c_str(), file), 0);
    ASSERT_EQ(chmod(root.c_str(), folder), 0);
  };
  open_mode(0444, 0555);
  unprivileged([&] {
    read_all(Store::open(path, Store::Mode::kRead));
    EXPECT_SAYS(error_of([&] { Store::open(path, Store::Mode::kWrite); }), "read-only");
    EXPECT_SAYS(error_of([&] { Store::open(root / "new.db", Store::Mode::kWrite); }), "read-only");
  });
  open_mode(0444, 0777);
  unprivileged([&] {
    read_all(Store::open(path, Store::Mode::kRead));
    EXPECT_SAYS(error_of([&] { Store::open(path, Store::Mode::kWrite); }), "read-only");
  });
  open_mode(0666, 0555);
  unprivileged([&] {
    read_all(Store::open(path, Store::Mode::kRead));
    EXPECT_SAYS(error_of([&] { Store::open(path, Store::Mode::kWrite); }), "directory");
  });
  open_mode(0000, 0777);
  unprivileged([&] {
    EXPECT_SAYS(error_of([&] { Store::open(path, Store::Mode::kRead); }), "Permission denied");
    EXPECT_SAYS(error_of([&] { Store::open(path, Store::Mode::kWrite); }), "read-only");
  });
  // A live writer's journal is read by those who may not touch it.
  open_mode(0644, 0755);
  Store writer = Store::open(path, Store::Mode::kWrite);
  fill(writer, 10);
  unprivileged([&] { EXPECT_EQ(Store::open(path, Store::Mode::kRead).runs().size(), 2u); });
  EXPECT_EQ(names_in(root).size(), 3u);
}

// Every connection of SQLite's opened from here on finds the disk full at this many pages.
int full_disk(sqlite3* connection, char**, const void*) {
  return sqlite3_exec(connection, "PRAGMA max_page_count = 60", nullptr, nullptr, nullptr);
}

TEST(StoreFile, AFullDiskLosesNothingThatWasStored) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  // SQLite's extensions are given as functions of no type.
  const auto hook = reinterpret_cast<void (*)()>(&full_disk);
  ASSERT_EQ(sqlite3_auto_extension(hook), SQLITE_OK);
  std::int64_t run = 0;
  std::int64_t stored = 0;
  {
    Store store = Store::open(path, Store::Mode::kWrite);
    run = fill(store, 1);
    std::string error;
    for (Width next = 2; error.empty() && next < 100000; next += 10) {
      std::vector<Score> batch;
      for (Width width = next; width < next + 10; ++width) {
        batch.push_back(test::score({width}, 1.0 / width, width));
      }
      stored = store.run(run)->records;
      error = error_of([&] { store.add(run, batch); });
    }
    EXPECT_SAYS(error, "disk is full");
    EXPECT_EQ(store.run(run)->records, stored);
    EXPECT_EQ(store.front({}).size(), static_cast<std::size_t>(stored));
  }
  sqlite3_cancel_auto_extension(hook);
  EXPECT_GT(stored, 20);
  Store store = Store::open(path, Store::Mode::kWrite);
  store.resume_run(run);
  const std::vector<Score> more = {test::score({7777777}, 1e-9, 999)};
  store.add(run, more);
  EXPECT_EQ(store.run(run)->records, stored + 1);
  EXPECT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
}

TEST(StoreFile, LockedForTooLongIsAnError) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  Store store = Store::open(path, Store::Mode::kWrite, std::chrono::milliseconds(50));
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_SAYS(error_of([&] { store.resume_run(1); }), "locked");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(50));
  EXPECT_EQ(store.runs().size(), 1u) << "readers do not wait for a writer";
  sqlite3_close(other);
  store.resume_run(1);
}

// What goes to a file without a name, nobody finds: a search would end well, with all its scores
// lost.
TEST(StoreFile, NothingIsCommittedToAFileThatIsNoLongerThere) {
  const test::TempDir directory;
  const auto path = directory / "results.db", aside = directory / "aside.db";
  const std::function<void()> losses[] = {
      [&] { std::filesystem::remove(path); },
      [&] { std::filesystem::rename(path, aside); },
      [&] {
        make(aside);
        std::filesystem::rename(aside, path);
      },
  };
  for (const auto& lose : losses) {
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
      std::filesystem::remove(entry);
    }
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t run = fill(store, 40);
    lose();
    const std::vector<Score> batch = {test::score({41}, 0.01, 41)};
    EXPECT_SAYS(error_of([&] { store.add(run, batch); }), "was deleted, renamed or replaced");
    EXPECT_SAYS(error_of([&] { store.finish_run(run, "done"); }), "was deleted");
    if (!std::filesystem::exists(aside)) continue;
    std::filesystem::rename(aside, path);
    store.add(run, batch);
    EXPECT_EQ(Store::open(path, Store::Mode::kRead).records_of(run).size(), 41u);
  }
}

TEST(StoreFile, AStoreWithoutATableIsNamedAsDamaged) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  make(path);
  test::query(path, "PRAGMA foreign_keys = OFF; DROP TABLE example_scores");
  const Store store = Store::open(path, Store::Mode::kRead);
  const std::string error = error_of([&] { store.per_example(1, Metric::kLoss); });
  EXPECT_SAYS(error, "no such table: example_scores");
  EXPECT_SAYS(error, "restore a copy");
}

}  // namespace
}  // namespace mnm
