// Keeps the table `member`, the fronts of all records, up to date as records are added.
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

// The members are also held here, so a record is compared with them without a query.
class Fronts {
 public:
  using Prepare = std::function<sqlite::Statement&(std::string_view sql)>;

  explicit Fronts(Prepare prepare) : prepare_(std::move(prepare)) {}

  // Called first in a transaction that adds records, because another process may have changed the
  // members.
  void begin();
  // Offers a record, which was just stored under its id, to the fronts of its model, data and dtype
  // in this metric, one for each kind of cost. It enters a front unless a member costs at most as
  // much and scores at least as well. Then the members that it dominates leave. A value that is not
  // a number enters no front.
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
