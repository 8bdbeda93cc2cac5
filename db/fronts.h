// Keeps table `member`, the fronts of all records, up to date as records are added.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "db/sqlite.h"
#include "db/staircase.h"
#include "db/store.h"

namespace mnm {

// The metrics that fronts are taken of; the smaller objective wins.
struct Metric {
  std::string_view name, value_column, error_column;
  bool larger_wins = false;
};
inline constexpr Metric kMetrics[] = {{"loss", "loss", "loss_se", false},
                                      {"kl", "kl", "kl_se", false},
                                      {"agreement", "agreement", "agreement_se", true}};
const Metric& metric_named(std::string_view name);  // UsageError names them all

// By kMetrics: smaller wins, NaN where it was not measured or is no number.
std::array<double, std::size(kMetrics)> objectives_of(const Record& record);

std::string_view column_of(CostKind kind);  // of table record

// The members are also held here, so that a record is compared with them without asking SQLite.
class Fronts {
 public:
  using Prepare = std::function<sqlite::Statement&(std::string_view sql)>;

  explicit Fronts(Prepare prepare) : prepare_(std::move(prepare)) {}

  // First thing in a transaction that adds records: another process may have changed the members.
  void begin();
  // The record, just stored under its id, enters the fronts of its model, data and dtype on which
  // nothing costs at most as much and scores at least as well, and whatever it beats leaves.
  void offer(const Record& record);
  void forget() { groups_.clear(); }  // the transaction was rolled back

 private:
  struct Front {
    std::int64_t id = 0;
    Staircase members;
  };
  // [metric][kind of cost], in the orders of kMetrics and kExactCosts.
  using Group = std::array<std::array<Front, std::size(kExactCosts)>, std::size(kMetrics)>;

  Group& group_of(const Record& record);
  void offer(Front& front, std::int64_t cost, double objective, std::int64_t record);

  Prepare prepare_;
  std::int64_t version_ = -1;  // PRAGMA data_version: moves when another connection commits
  std::map<std::tuple<std::int64_t, std::int64_t, Dtype>, Group> groups_;
};

}  // namespace mnm
