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

std::string_view column_of(CostKind kind);  // of table record

// The members are also held here, so that a record is compared with them without asking SQLite.
class Fronts {
 public:
  using Prepare = std::function<sqlite::Statement&(std::string_view sql)>;

  explicit Fronts(Prepare prepare) : prepare_(std::move(prepare)) {}

  // First thing in a transaction that adds records: another process may have changed the members.
  void begin();
  // The record, just stored under its id, enters the fronts of its model, data and dtype in this
  // metric on which nothing costs at most as much and scores at least as well, and whatever it
  // beats leaves. A value that is no number enters none.
  void offer(const Record& record, Metric metric);
  void forget() { groups_.clear(); }  // the transaction was rolled back

 private:
  struct Front {
    std::int64_t id = 0;
    Staircase members;
  };
  using Group = std::array<Front, std::size(kExactCosts)>;  // in that order

  Group& group_of(const Record& record, Metric metric);
  void offer(Front& front, std::int64_t cost, double objective, std::int64_t record);

  Prepare prepare_;
  std::int64_t version_ = -1;  // PRAGMA data_version: moves when another connection commits
  std::map<std::tuple<std::int64_t, std::int64_t, Dtype, Metric>, Group> groups_;
};

}  // namespace mnm
