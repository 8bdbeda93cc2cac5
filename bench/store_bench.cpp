// How fast the store takes records, and how fast it answers fronts.
//
//   store_bench [--check] [--consistency] [--records N] [--losses N] [FILE]
//
// Adds batches of 256 records with their per-sequence losses to a new store (in the directory for
// temporary files unless FILE is given), then asks for fronts. Beside it, the same values are
// written into two plain tables of SQLite, and one cost and one loss of every record are read back.
// The floors compare the store with that, so they hold on a slow machine, too. They are for the
// default counts. --check: exit 1 where a floor is missed by the shortest times of three rounds,
// not counting the time in which other programs had the processor that this one was ready to use.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "db/sqlite.h"
#include "db/store.h"

namespace mnm {
namespace {

constexpr double kWriting = 0.35;  // records per second, over those of plain tables
// The time of reading a cost and a loss of every record, over that of a front: one that the store
// keeps, and one that it computes from its records.
constexpr double kKept = 4, kComputed = 0.2;
constexpr std::size_t kBatch = 256;

struct Options {
  std::size_t records = 100000;
  std::size_t losses = 64;
  bool accuracy = true;
  bool consistency = false;
  bool check = false;
  std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("mnm-store-bench-{}.db", getpid());
};

struct Seconds {
  double wall = 0;
  double own = 0;  // wall, less the time spent ready to run while others ran (/proc schedstat)
};

double waited() {
  double ran = 0, waiting = 0;
  std::ifstream("/proc/thread-self/schedstat") >> ran >> waiting;
  return waiting * 1e-9;
}

Seconds time(const std::function<void()>& work) {
  const double before = waited();
  const auto start = std::chrono::steady_clock::now();
  work();
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {wall, std::max(wall - (waited() - before), 1e-9)};
}

// Distinct widths of 16 layers, costs that follow from them, losses that fall with the cost.
std::vector<Score> make_scores(const Options& options) {
  std::mt19937_64 random(1);
  std::vector<Score> scores(options.records);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    Score& score = scores[i];
    std::int64_t sum = 0;
    std::uint64_t digits = i;  // four widths a layer: the first 9 layers tell the records apart
    for (int layer = 0; layer < 16; ++layer) {
      const std::uint64_t level = layer < 9 ? digits % 4 : random() % 4;
      digits /= 4;
      score.widths.push_back(static_cast<Width>(64 << level));
      sum += score.widths.back();
    }
    const double noise = static_cast<double>(random() % 1000000) / 1e8;
    score.samples = static_cast<std::int64_t>(options.losses);
    const double loss = 1.3 + 200.0 / static_cast<double>(sum) + noise;
    const auto measured = [&](Metric metric, double value) {
      score.metrics[metric] = Measured{value, 0.01};
      score.per_example[metric].assign(options.losses, static_cast<float>(value));
    };
    measured(Metric::kLoss, loss);
    if (options.accuracy) measured(Metric::kAccuracy, 0.9 / loss);
    if (options.consistency) {
      measured(Metric::kKl, loss - 1.3);
      measured(Metric::kAgreement, 1 / loss);
    }
    score.cost = {
        300000 + 384 * sum, 234464 + 384 * sum, 600000 + 768 * sum, 700000 + 768 * sum, 4096, 0};
  }
  std::shuffle(scores.begin(), scores.end(), random);
  return scores;
}

void remove_store(const std::filesystem::path& file) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(file.string() + suffix);
  }
}

// Passes the scores to `add`, kBatch at a time, and times that.
Seconds time_batches(std::span<const Score> scores,
                     const std::function<void(std::span<const Score>)>& add) {
  return time([&] {
    for (std::size_t i = 0; i < scores.size(); i += kBatch) {
      add(scores.subspan(i, std::min(kBatch, scores.size() - i)));
    }
  });
}

// The same values in two plain tables: what SQLite alone takes.
struct Plain {
  Seconds adding, reading;
};

Plain run_plain(const Options& options, const std::vector<Score>& scores) {
  remove_store(options.file);
  sqlite::Connection connection(options.file, "file:" + options.file.string(),
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  connection.execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8192;"
      "PRAGMA cache_size = -65536;"
      "CREATE TABLE record (id INTEGER PRIMARY KEY, widths TEXT UNIQUE, samples, params,"
      " non_embedding, bytes, flops, kv_bytes, state_bytes);"
      "CREATE TABLE score (record, metric, value, error, f32, PRIMARY KEY (record, metric))"
      " WITHOUT ROWID");
  sqlite::Statement record = connection.prepare(
      "INSERT INTO record (widths, samples, params, non_embedding, bytes, flops, kv_bytes,"
      " state_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  sqlite::Statement value = connection.prepare("INSERT INTO score VALUES (?, ?, ?, ?, ?)");
  const auto add = [&](const Score& score) {
    const Cost& cost = score.cost;
    record
        .bind(to_string(score.widths), score.samples, cost.params, cost.non_embedding, cost.bytes,
              cost.flops, cost.kv_bytes, cost.state_bytes)
        .run();
    const std::int64_t id = connection.last_id();
    for (const MetricRow& row : metric_table()) {
      const std::optional<Measured>& measured = score.metrics[row.metric];
      if (!measured) continue;
      value
          .bind(id, row.name, measured->value, measured->standard_error,
                std::as_bytes(std::span(score.per_example[row.metric])))
          .run();
    }
  };
  Plain plain;
  plain.adding = time_batches(scores, [&](std::span<const Score> batch) {
    sqlite::Transaction transaction(connection, sqlite::Transaction::Kind::kWrite);
    for (const Score& score : batch) add(score);
    transaction.commit();
  });
  std::size_t read = 0;
  plain.reading = time([&] {
    sqlite::Statement all = connection.prepare(
        "SELECT flops, value FROM record JOIN score ON metric = 'loss' AND record = record.id");
    while (all.step()) read += all.integer(0) > 0 && all.real(1) > 0 ? 1 : 0;
  });
  if (read != scores.size()) fail("{} of {} rows were read", read, scores.size());
  return plain;
}

struct FrontTime {
  std::string name;
  double floor;  // kKept or kComputed
  Seconds seconds;
};

struct Round {
  Plain plain;
  Seconds adding;
  std::vector<FrontTime> fronts;
};

Round run(const Options& options) {
  const std::vector<Score> scores = make_scores(options);
  Round round;
  round.plain = run_plain(options, scores);
  remove_store(options.file);
  Store store = Store::open(options.file, Store::Mode::kWrite);
  const std::int64_t model = store.model({"model", "model", "llama", "{}", "64,128,256,512"});
  const std::int64_t data = store.data({"data", "data", 256, 64});
  RunRow row;
  row.model = model;
  row.data = data;
  row.command = "bench";
  const std::int64_t id = store.begin_run(row);

  round.adding = time_batches(scores, [&](std::span<const Score> batch) { store.add(id, batch); });

  const auto ask = [&](const std::string& name, double floor, const FrontQuery& query) {
    const Seconds seconds = time([&] {
      const Store reader = Store::open(options.file, Store::Mode::kRead);
      if (reader.front(query).empty()) fail("the front is empty");
    });
    round.fronts.push_back({name, floor, seconds});
  };
  FrontQuery query;
  ask("whole", kKept, query);
  query.max_cost = 2'000'000;
  ask("up to a cost", kKept, query);
  query.min_cost = 1'000'000;
  ask("of a cost range", kComputed, query);
  query = {};
  query.budgets = {{CostKind::kFlops, 3'000'000}, {CostKind::kBytes, 2'500'000}};
  ask("under two budgets", kComputed, query);
  query = {};
  query.runs = {id};
  ask("of a run", kComputed, query);
  remove_store(options.file);
  return round;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto number = [&]() -> std::size_t {
      if (++i == argc) fail_usage("{} needs a number", argument);
      return std::stoul(argv[i]);
    };
    if (argument == "--check") {
      options.check = true;
    } else if (argument == "--consistency") {
      options.consistency = true;
    } else if (argument == "--records") {
      options.records = std::clamp<std::size_t>(number(), 1, 1 << 18);
    } else if (argument == "--losses") {
      options.losses = number();
    } else if (!argument.starts_with("-")) {
      options.file = argument;
    } else {
      fail_usage("store_bench [--check] [--consistency] [--records N] [--losses N] [FILE]");
    }
  }
  return options;
}

void keep_shorter(Seconds& best, const Seconds& time) {
  if (time.own < best.own) best = time;
}

// The shortest of each time.
Round shortest(Round best, const Round& round) {
  keep_shorter(best.plain.adding, round.plain.adding);
  keep_shorter(best.plain.reading, round.plain.reading);
  keep_shorter(best.adding, round.adding);
  for (std::size_t i = 0; i < best.fronts.size(); ++i) {
    keep_shorter(best.fronts[i].seconds, round.fronts[i].seconds);
  }
  return best;
}

// Whether all floors are reached.
bool print(const Options& options, const Round& round) {
  const double count = static_cast<double>(options.records);
  const double writing = round.plain.adding.own / round.adding.own;
  fmt::print("{} records with {} losses each: {:.0f} records/s ({:.0f} by the wall clock)\n",
             options.records, options.losses, count / round.adding.own, count / round.adding.wall);
  fmt::print("  over plain tables' {:.0f}: {:.2f} (floor {:.2f})\n", count / round.plain.adding.own,
             writing, kWriting);
  fmt::print("  reading every record     {:6.1f} ms\n", round.plain.reading.own * 1e3);
  bool met = writing >= kWriting;
  for (const auto& [name, floor, seconds] : round.fronts) {
    const double times = round.plain.reading.own / seconds.own;
    fmt::print(
        "  front {:<18} {:6.1f} ms ({:.1f} by the wall clock), {:.1f} times as fast (floor {})\n",
        name, seconds.own * 1e3, seconds.wall * 1e3, times, floor);
    met = met && times >= floor;
  }
  return met;
}

int bench(const Options& options) {
  Round best = run(options);
  bool met = print(options, best);
  for (int round = 1; options.check && !met && round < 3; ++round) {
    best = shortest(std::move(best), run(options));
    met = print(options, best);
  }
  return met || !options.check ? 0 : 1;
}

}  // namespace
}  // namespace mnm

int main(int argc, char** argv) {
  try {
    return mnm::bench(mnm::parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "store_bench: {}\n", error.what());
    return 1;
  }
}
