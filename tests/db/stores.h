// Rows for tests of the store.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "db/store.h"
#include "tests/support/temp_dir.h"

namespace mnm::test {

inline ModelRow model_row(const std::string& name = "model") {
  return {"fingerprint of " + name, name, "llama", R"({"layers":2})", "64,128"};
}

inline DataRow data_row(const std::string& name = "data", std::int64_t examples = 4) {
  return {"fingerprint of " + name, name, 256, examples};
}

inline RunRow run_row(std::int64_t model, std::int64_t data) {
  RunRow run;
  run.model = model;
  run.data = data;
  run.part = "search";
  run.command = "search";
  run.strategy = "grid";
  run.seed = 0xfedcba9876543210;  // does not fit a signed number
  run.settings = R"({"budget":1})";
  run.command_line = "mixnmatch search";
  run.build = "build";
  run.device = "cpu";
  return run;
}

// All costs follow from one number, each in its own way.
inline Cost cost(std::int64_t params) {
  return {params, params / 2, 1'000'000 - params, (params * 7919) % 1000, 8, 0};
}

inline Score score(const Widths& widths, double loss, std::int64_t params) {
  Score score;
  score.widths = widths;
  score.samples = 4;
  score.metrics[Metric::kLoss] = Measured{loss, 0.25};
  score.cost = cost(params);
  score.per_example[Metric::kLoss] = {1.5f, 2.5f, static_cast<float>(loss), -0.0f};
  return score;
}

// A measurement of two layers of widths 2 and 4. A submodel takes 1 ms, and half a millisecond for
// each unit of width: 2,2 takes 3 ms, 2,4 and 4,2 take 4 ms, and 4,4 takes 5 ms.
inline LatencyRow latency_row(std::int64_t model, std::int64_t repeats) {
  LatencyRow row;
  row.model = model;
  row.measured.device = "cpu, 2 threads";
  row.measured.workload = {Phase::kPrefill, 3, 77};
  row.measured.repeats = repeats;
  row.measured.parts = {{kFixedPart, 0, {1e-3, 0}},
                        {0, 2, {1e-3, 0}},
                        {0, 4, {2e-3, 0}},
                        {1, 2, {1e-3, 0}},
                        {1, 4, {2e-3, 0}}};
  return row;
}

// Of a measurement and the run of its search: the submodel took so many milliseconds as a whole,
// the median of 9.
inline void add_whole_latency(Store& store, std::int64_t latency, std::int64_t run,
                              const Widths& widths, double milliseconds) {
  WholeLatencyRow row;
  row.latency = latency;
  row.run = run;
  row.repeats = 9;
  row.measured = {widths, 1e-3, {1e-3 * milliseconds, 0}};
  store.add_whole_latencies({&row, 1});
}

// Every row of a query as text, by SQLite itself: the route that does without our code.
inline std::vector<std::vector<std::string>> query(const std::filesystem::path& path,
                                                   const std::string& sql) {
  sqlite3* handle = nullptr;
  std::vector<std::vector<std::string>> rows;
  sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE, nullptr);
  sqlite3_busy_timeout(handle, 10000);
  const auto take = [](void* into, int columns, char** values, char**) {
    auto& row = static_cast<std::vector<std::vector<std::string>>*>(into)->emplace_back();
    for (int i = 0; i < columns; ++i) row.emplace_back(values[i] == nullptr ? "NULL" : values[i]);
    return 0;
  };
  const int code = sqlite3_exec(handle, sql.c_str(), take, &rows, nullptr);
  const std::string message = sqlite3_errmsg(handle);
  sqlite3_close(handle);
  if (code != SQLITE_OK) throw std::runtime_error(message);
  return rows;
}

inline std::string cell(const std::filesystem::path& path, const std::string& sql) {
  return query(path, sql).at(0).at(0);
}

// What a program of version 4 left: version_4.sql says how it was made.
inline void make_version_4(const std::filesystem::path& path) {
  spew(path, "");
  query(path, slurp(MNM_SOURCE_DIR "/tests/db/version_4.sql"));
}

// Takes away what came with the version after.
inline void make_version_5(const std::filesystem::path& version_6) {
  query(version_6, "DROP TABLE latency_whole; PRAGMA user_version = 5");
}
inline void make_version_3(const std::filesystem::path& version_4) {
  query(version_4,
        "DROP VIEW pareto; DROP TABLE latency_member; DROP VIEW latency_stands; "
        "PRAGMA user_version = 3; " +
            slurp(MNM_SOURCE_DIR "/db/old_schema_3.sql"));
}
inline void make_version_2(const std::filesystem::path& version_3) {
  query(version_3,
        "DROP TABLE verification; DROP TABLE latency_check; DROP TABLE latency_part; "
        "DROP TABLE latency; PRAGMA user_version = 2;");
}

}  // namespace mnm::test
