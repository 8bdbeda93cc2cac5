// Keeps the table `latency_member`, the fronts over latency, up to date as records and measurements
// are added. Of several measurements of the same things only the newest is in force and has fronts.
// A record whose widths lie outside what was measured is on none of them.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "db/sqlite.h"
#include "db/staircase.h"
#include "db/store.h"
#include "model/latency.h"

namespace mnm {

// Those of a measurement. Error if one is of a layer or a width that no model has.
std::vector<LatencyPart> latency_parts(const sqlite::Connection& store, std::int64_t latency);

// Lives within one writing transaction.
class LatencyFronts {
 public:
  explicit LatencyFronts(const sqlite::Connection& store);

  // Offers a record, which was just stored under its id, in one metric to the fronts of all
  // measurements in force of its model. Error if a measurement is damaged.
  void offer(const Record& record, Metric metric);
  // Makes the fronts of a new measurement from all records of its model, and removes the fronts of
  // the measurements that it supersedes.
  void add(std::int64_t latency);
  // Makes the fronts of all measurements in force, in a store that has no such fronts yet.
  void add_all();

 private:
  struct Front {
    std::int64_t latency = 0, data = 0;
    Dtype dtype = Dtype::kF32;  // of the records
    Metric metric = Metric::kLoss;
    auto operator<=>(const Front&) const = default;
  };
  void offer(std::int64_t latency, const LatencyTable& table, const Record& record, Metric metric);
  Staircase& members_of(const Front& front);

  const sqlite::Connection& store_;
  sqlite::Statement select_, insert_, beat_;
  std::map<std::int64_t, std::vector<std::pair<std::int64_t, LatencyTable>>> tables_;  // by model
  std::map<Front, Staircase> fronts_;
};

}  // namespace mnm
