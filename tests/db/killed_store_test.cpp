// A store whose writers are killed: random operations against an obvious model. Each writer dies in
// the middle of one of its writes, of which half reaches the file.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "db/store.h"
#include "tests/db/child.h"
#include "tests/db/stores.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

// Writes that this process still completes; the next one kills it.
std::int64_t writes_left = -1;  // -1: all

template <typename Write>
ssize_t counted(std::size_t size, const Write& write) {
  if (writes_left < 0) return write(size);
  if (writes_left-- > 0) return write(size);
  write(size / 2);
  kill(getpid(), SIGKILL);
  return -1;
}

ssize_t counted_write(int file, const void* data, std::size_t size) {
  return counted(size, [&](std::size_t n) { return write(file, data, n); });
}
ssize_t counted_pwrite(int file, const void* data, std::size_t size, off_t at) {
  return counted(size, [&](std::size_t n) { return pwrite(file, data, n, at); });
}

// From now on, in this process, SQLite writes through these.
void count_writes(std::int64_t writes) {
  writes_left = writes;
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  vfs->xSetSystemCall(vfs, "write", reinterpret_cast<sqlite3_syscall_ptr>(&counted_write));
  for (const char* name : {"pwrite", "pwrite64"}) {
    vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(&counted_pwrite));
  }
}

// What the store promises to keep of a run.
struct KeptRun {
  std::string status;
  std::vector<std::pair<Widths, double>> records;  // and their losses, in the order of adding

  bool operator==(const KeptRun&) const = default;
};
using Kept = std::vector<KeptRun>;  // the run of number i has the id i + 1

Kept kept_in(const Store& store) {
  Kept kept;
  for (const RunRow& row : store.runs()) {
    KeptRun& run = kept.emplace_back(KeptRun{row.status, {}});
    for (const Record& record : store.records_of(row.id)) {
      run.records.emplace_back(record.widths, record.value());
      // A record is there with its values, or not at all.
      EXPECT_EQ(store.per_example(record.id, Metric::kLoss).size(), 4u);
    }
  }
  return kept;
}

struct Operation {
  enum Kind { kBegin, kAdd, kFinish, kResume } kind = kBegin;
  std::size_t run = 0;   // not of kBegin
  Width records = 0;     // of kAdd
  std::string status{};  // of kFinish
};

// The records that an operation adds: runs have the same ones, each from its first on.
std::vector<Score> scores_of(const Operation& operation, const Kept& before) {
  const auto first = static_cast<Width>(before[operation.run].records.size());
  std::vector<Score> scores;
  for (Width i = first; i < first + operation.records; ++i) {
    scores.push_back(test::score({1 + i, 7}, 1.0 / (1 + i), 1 + i));
  }
  return scores;
}

Kept after(Kept kept, const Operation& operation) {
  switch (operation.kind) {
    case Operation::kBegin:
      kept.push_back({"running", {}});
      break;
    case Operation::kAdd:
      for (const Score& score : scores_of(operation, kept)) {
        kept[operation.run].records.emplace_back(score.widths, score.value());
      }
      break;
    case Operation::kFinish:
      kept[operation.run].status = operation.status;
      break;
    case Operation::kResume:
      kept[operation.run].status = "running";
      break;
  }
  return kept;
}

Operation drawn(std::mt19937& random, const Kept& kept) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  if (kept.empty() || below(6) == 0) return {};
  const std::size_t run = below(kept.size());
  if (kept[run].status == "done") return {};
  if (kept[run].status == "stopped") return {Operation::kResume, run};
  if (below(4) == 0) return {Operation::kFinish, run, 0, below(2) == 0 ? "done" : "stopped"};
  return {Operation::kAdd, run, static_cast<Width>(1 + below(20))};
}

// What a writer does, and reports after each operation.
void carry_out(const std::filesystem::path& path, const std::vector<Operation>& operations,
               Kept kept, int report_to) {
  Store store = Store::open(path, Store::Mode::kWrite);
  const std::int64_t model = store.model(test::model_row()), data = store.data(test::data_row());
  std::set<std::size_t> owned;  // by this process
  for (const Operation& operation : operations) {
    const auto id = static_cast<std::int64_t>(operation.run) + 1;
    const bool begins = operation.kind == Operation::kBegin;
    if (!begins && owned.insert(operation.run).second) store.resume_run(id);
    if (begins) {
      store.begin_run(test::run_row(model, data));
      owned.insert(kept.size());
    } else if (operation.kind == Operation::kAdd) {
      store.add(id, scores_of(operation, kept));
    } else if (operation.kind == Operation::kFinish) {
      store.finish_run(id, operation.status);
      owned.erase(operation.run);
    }
    kept = after(std::move(kept), operation);
    test::report(report_to);
  }
}

TEST(KilledStore, HoldsWhatWasAddedAndNothingTorn) {
  for (const std::uint32_t seed : {1u, 2u, 3u}) {
    const test::TempDir directory;
    const auto path = directory / "results.db";
    std::mt19937 random(seed);
    Kept kept;
    int killed = 0;
    for (int life = 0; life < 40; ++life) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", life " + std::to_string(life));
      std::vector<Operation> operations;
      std::vector<Kept> states = {kept};  // after none of the operations, after the first, ...
      for (int i = 0; i < 8; ++i) {
        operations.push_back(drawn(random, states.back()));
        states.push_back(after(states.back(), operations.back()));
      }
      const auto writes = static_cast<std::int64_t>(random() % 60);
      test::Child writer([&](int to) {
        count_writes(writes);
        carry_out(path, operations, kept, to);
      });
      const std::size_t done = writer.reports();
      const int status = writer.end();
      const bool dead = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      ASSERT_TRUE(dead || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
      killed += dead ? 1 : 0;

      const Kept found = kept_in(Store::open(path, Store::Mode::kWrite));
      const std::size_t next = std::min(done + 1, operations.size());
      ASSERT_TRUE(found == states[done] || found == states[next])
          << done << " operations were done";
      ASSERT_EQ(test::cell(path, "PRAGMA integrity_check"), "ok");
      kept = found;
    }
    EXPECT_GT(killed, 20) << "seed " << seed << ": too few were killed to judge anything";
    EXPECT_GT(kept.size(), 3u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace mnm
