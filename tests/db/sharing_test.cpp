// Several processes and one store: writing at once, owning runs, and being killed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "db/process.h"
#include "db/store.h"
#include "tests/db/child.h"
#include "tests/db/stores.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::Child;
using test::report;

constexpr Width kBatch = 16;

std::vector<Score> batch_of(Width layer, Width first) {
  std::vector<Score> batch;
  for (Width width = first; width < first + kBatch; ++width) {
    batch.push_back(test::score({layer, width}, 1.0 / width, width));
  }
  return batch;
}

TEST(Sharing, TwoWritersBothSucceed) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  constexpr Width kBatches = 40;
  // Both also make the file, and store the same and different records.
  const auto writer = [&](Width layer) {
    return [&path, layer](int to) {
      Store store = Store::open(path, Store::Mode::kWrite);
      const std::int64_t model = store.model(test::model_row());
      const std::int64_t data = store.data(test::data_row());
      const std::int64_t run = store.begin_run(test::run_row(model, data));
      for (Width i = 0; i < kBatches; ++i) {
        store.add(run, batch_of(layer, 1 + i * kBatch));
        store.add(run, batch_of(9, 1 + i * kBatch));
        report(to);
      }
      store.finish_run(run, "done");
    };
  };
  for (int round = 0; round < 3; ++round) {
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path.string() + suffix);
    Child a(writer(1)), b(writer(2));
    // A reader all the while: each answer is of one state.
    a.reports(1);
    for (int i = 0; i < 20; ++i) {
      const Store reader = Store::open(path, Store::Mode::kRead);
      FrontQuery all;
      all.all = true;
      const std::size_t records = reader.front(all).size();
      EXPECT_GT(records, 0u);
      EXPECT_EQ(records % kBatch, 0u);
    }
    EXPECT_EQ(a.end(), 0);
    EXPECT_EQ(b.end(), 0);
    const Store store = Store::open(path, Store::Mode::kRead);
    EXPECT_EQ(store.models().size(), 1u);
    ASSERT_EQ(store.runs().size(), 2u);
    for (const RunRow& run : store.runs()) EXPECT_EQ(run.records, 2 * kBatches * kBatch);
    FrontQuery all;
    all.all = true;
    EXPECT_EQ(store.front(all).size(), 3u * kBatches * kBatch);
    // Each width comes thrice, with one cost and one loss: the front has each once.
    EXPECT_EQ(store.front({}).size(), std::size_t{kBatches} * kBatch);
    EXPECT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
  }
}

TEST(Sharing, ARunBelongsToALivingProcess) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  Child owner([&](int to) {
    Store store = Store::open(path, Store::Mode::kWrite);
    store.begin_run(test::run_row(store.model(test::model_row()), store.data(test::data_row())));
    report(to);
    pause();
  });
  ASSERT_EQ(owner.reports(1), 1u);
  Store store = Store::open(path, Store::Mode::kWrite);
  const std::string name = "process " + std::to_string(owner.pid());
  EXPECT_EQ(store.run(1)->owner.substr(0, name.size()), name);
  EXPECT_NE(test::error_of([&] { store.resume_run(1); }).find(name), std::string::npos);
  EXPECT_NE(test::error_of([&] { store.finish_run(1, "done"); }).find(name), std::string::npos);
  const std::vector<Score> batch = batch_of(1, 1);
  EXPECT_NE(test::error_of([&] { store.add(1, batch); }).find(name), std::string::npos);

  owner.end(SIGKILL);
  EXPECT_EQ(store.run(1)->status, "running");
  EXPECT_EQ(store.run(1)->owner, "");
  store.resume_run(1);
  store.add(1, batch);
  EXPECT_NE(store.run(1)->owner, "");
  store.finish_run(1, "done");
  EXPECT_EQ(store.run(1)->owner, "");
  EXPECT_FALSE(test::error_of([&] { store.resume_run(1); }).empty());
}

TEST(Sharing, WhoeverLostARunCannotAddToIt) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  Store store = Store::open(path, Store::Mode::kWrite);
  const std::int64_t run =
      store.begin_run(test::run_row(store.model(test::model_row()), store.data(test::data_row())));
  // As if another boot of the machine had owned it, and another process had taken it since.
  test::query(path, "UPDATE run SET owner_boot = 'earlier'");
  const std::vector<Score> batch = batch_of(1, 1);
  EXPECT_NE(test::error_of([&] { store.add(run, batch); }).find("taken over"), std::string::npos);
  store.resume_run(run);
  store.add(run, batch);
}

// As a process in another container, or on another machine: the store names one that is not here.
TEST(Sharing, ARunOfAProcessThatIsNotSeenIsHeldByItsLock) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  Child owner([&](int to) {
    Store store = Store::open(path, Store::Mode::kWrite);
    const std::int64_t run = store.begin_run(
        test::run_row(store.model(test::model_row()), store.data(test::data_row())));
    if (write(to, &run, sizeof(run)) == sizeof(run)) pause();
  });
  const auto run = owner.receive<std::int64_t>();
  for (const char* other : {"owner_pid = 0", "owner_boot = 'another'"}) {
    test::query(path, std::string("UPDATE run SET owner_host = 'container', ") + other);
    EXPECT_NE(Store::open(path, Store::Mode::kRead).run(run)->owner.find("container"),
              std::string::npos);
    Store store = Store::open(path, Store::Mode::kWrite);
    EXPECT_NE(test::error_of([&] { store.resume_run(run); }).find("is being carried out"),
              std::string::npos);
  }
  owner.end(SIGKILL);
  EXPECT_EQ(Store::open(path, Store::Mode::kRead).run(run)->owner, "");
  Store::open(path, Store::Mode::kWrite).resume_run(run);
}

int without_locks(int descriptor, int command, ...) {
  if (command == F_SETLK || command == F_SETLKW || command == F_GETLK) {
    errno = ENOLCK;
    return -1;
  }
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  return fcntl(descriptor, command, argument);
}

TEST(Sharing, ADiskWithoutLocksIsSaidToBeOne) {
  const test::TempDir directory;
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  const auto set = [&](int (*call)(int, int, ...)) {
    vfs->xSetSystemCall(vfs, "fcntl", reinterpret_cast<sqlite3_syscall_ptr>(call));
  };
  set(&without_locks);
  const auto before = std::chrono::steady_clock::now();
  const std::string error = test::error_of(
      [&] { Store::open(directory / "results.db", Store::Mode::kWrite, std::chrono::hours(1)); });
  set(nullptr);
  EXPECT_NE(error.find("disk without file locks"), std::string::npos) << error;
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::hours(1));
  Store::open(directory / "results.db", Store::Mode::kWrite);
}

TEST(Sharing, AProcessIsKnownByMoreThanItsNumber) {
  const Process self = this_process();
  EXPECT_EQ(self.pid, getpid());
  EXPECT_GT(self.start, 0);
  EXPECT_FALSE(self.boot.empty());
  EXPECT_TRUE(alive(self));
  Process other = self;
  other.start += 1;
  EXPECT_FALSE(alive(other));
  other = self;
  other.boot = "another";
  EXPECT_FALSE(alive(other));
  other = self;
  other.pid = 0;
  EXPECT_FALSE(alive(other));

  Child child([](int to) {
    const std::int64_t start = this_process().start;
    if (write(to, &start, sizeof(start)) == sizeof(start)) pause();
  });
  Process ended = self;
  ended.pid = child.pid();
  ended.start = child.receive<std::int64_t>();
  EXPECT_TRUE(alive(ended));
  child.kill_it();
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(alive(ended)) << "killed, not yet waited for";
}

TEST(Sharing, KilledAtAnyMomentLosesAtMostABatch) {
  const test::TempDir directory;
  const auto path = directory / "results.db";
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::size_t batches = 0;  // that must be there
  for (int round = 0; round < 25; ++round) {
    Child writer([&](int to) {
      Store store = Store::open(path, Store::Mode::kWrite);
      const std::int64_t model = store.model(test::model_row());
      const std::int64_t data = store.data(test::data_row());
      if (store.runs().empty()) store.begin_run(test::run_row(model, data));
      store.resume_run(1);
      for (std::int64_t at = store.run(1)->records;; at += kBatch) {
        store.add(1, batch_of(1, static_cast<Width>(1 + at)));
        report(to);
      }
    });
    // Some rounds are killed while the file is made or opened.
    if (round % 5 != 0) writer.reports(1 + random() % 4);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
    writer.kill_it();
    const std::size_t acknowledged = batches + writer.reports();
    writer.end();

    if (!std::filesystem::exists(path) || std::filesystem::file_size(path) == 0) continue;
    std::size_t found = 0;
    {
      // By turns read as it lies, or opened for writing.
      const Store store = Store::open(
          path, round % 2 == 0 || acknowledged == 0 ? Store::Mode::kWrite : Store::Mode::kRead);
      const auto run = store.run(1);
      const std::vector<Record> records = store.records_of(1);
      EXPECT_EQ(records.size() % kBatch, 0u);
      found = records.size() / kBatch;
      if (run) {
        EXPECT_EQ(run->owner, "");
      }
      for (std::size_t i = 0; i < records.size(); ++i) {
        ASSERT_EQ(records[i].widths, (Widths{1, static_cast<Width>(1 + i)}));
      }
      if (!records.empty()) {
        EXPECT_EQ(store.per_example(records.back().id, Metric::kLoss).size(), 4u);
      }
      EXPECT_EQ(store.front({}).size(), records.size());
    }
    EXPECT_GE(found, acknowledged);
    EXPECT_LE(found, acknowledged + 1);
    batches = found;
    EXPECT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
    EXPECT_TRUE(test::query(path, "PRAGMA foreign_key_check").empty());
  }
  EXPECT_GT(batches, 20u);
}

}  // namespace
}  // namespace mnm
