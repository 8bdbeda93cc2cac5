// Which submodel is exported where the user names none: the best of a store within budgets, or,
// without any score, the largest that MatFormer's rule makes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "db/store.h"
#include "families/open_model.h"
#include "model/budget.h"
#include "model/cost.h"

namespace mnm {

// The store's id of a checkpoint, by its fingerprint; nothing where it does not know it.
std::optional<std::int64_t> model_in(const Store& store, const OpenedModel& opened);

struct BestRequest {
  std::vector<Budget> budgets{};
  CostKind cost = CostKind::kParams;
  std::string data{};                     // by which scores, as data_named takes it; empty: of the
                                          // search part, else of the only data there are
  const LatencyTable* latency = nullptr;  // where a budget is of time
};

// The record of the model that has the smallest loss within the budgets. UsageError where there is
// none, or no telling by which data.
Record best_record(const Store& store, std::int64_t model, const BestRequest& request);

// The largest least-slope submodel within the budgets. UsageError names the smallest where none is.
Widths least_slope_within(const NestedModel& model, const CostTable& costs,
                          std::span<const Budget> budgets);

// Of the records of these widths the one to quote: one of the confirm part, where there is one.
std::optional<Record> scored_record(const Store& store, std::int64_t model, const Widths& widths);

}  // namespace mnm
