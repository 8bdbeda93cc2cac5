// Chooses the submodel to export if the user does not say its widths. It is the best one of a store
// within the budgets. If the user gives a budget and no store, it is the largest submodel within it
// that MatFormer's rule (least slope) makes, and no score decides.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "db/store.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "search/budget.h"

namespace mnm {

// The store's id of a checkpoint, found by its fingerprint. Nothing if the store does not know it.
std::optional<std::int64_t> model_in(const Store& store, const OpenedModel& opened);

// The data by whose scores the best are chosen: of that name (data_named), or the search part, or
// the only data that there are. UsageError if it is not clear which.
std::int64_t data_to_choose_by(const Store& store, std::int64_t model, const std::string& name);

struct BestRequest {
  std::vector<Budget> budgets{};
  CostKind cost = CostKind::kParams;
  std::string data{};                     // data_to_choose_by takes it
  const LatencyTable* latency = nullptr;  // needed if a budget is a latency
  // The measurement that the table is of. Given: submodels that a search timed as wholes, and found
  // too slow for the budgets, are passed over. If one is, only those that were found fast enough
  // are taken, unless there are none on the front.
  std::optional<std::int64_t> counted_with{};
  const CostTable* memory = nullptr;  // needed if a budget is of memory
};

// The model's record with the smallest loss within the budgets. UsageError if there is none, or if
// it is not clear which data decide.
Record best_record(const Store& store, std::int64_t model, const BestRequest& request);

// The largest least-slope submodel within the budgets. If none is, the largest of those with every
// layer left out that may be. If none of these is either, a UsageError names the smallest submodel
// and what it takes.
Widths least_slope_within(const NestedModel& model, const CostTable& costs,
                          std::span<const Budget> budgets);

// The record to quote for these widths: one of the confirm part, if there is one; else another.
// Nothing if there is none.
std::optional<Record> scored_record(const Store& store, std::int64_t model, const Widths& widths);

}  // namespace mnm
