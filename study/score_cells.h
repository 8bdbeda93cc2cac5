// Cells of a table for stored scores: one value, and the difference of two.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "db/store.h"
#include "eval/standard_error.h"
#include "report/table.h"

namespace mnm {

// What an axis says of a cost: "parameters".
std::string_view cost_axis(CostKind kind);

// The value with its standard error; its status if it is not a number; a missing cell if it was not
// measured.
Cell score_cell(const Score& score, Metric metric);

// a - b over the same examples, from the values per example in the store. Nothing if either is not
// a number or its values are not kept.
std::optional<Estimate> stored_difference(const Store& store, const Record& a, const Record& b,
                                          Metric metric);

// Adds two cells: a difference, and the same in standard errors.
void add_difference(std::vector<Cell>& row, const std::optional<Estimate>& difference);

}  // namespace mnm
