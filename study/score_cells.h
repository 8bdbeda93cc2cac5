// What a table says of stored scores: one value, and the difference of two.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "db/store.h"
#include "eval/statistics.h"
#include "report/table.h"

namespace mnm {

// What an axis says of a cost: "parameters".
std::string_view cost_axis(CostKind kind);

// The value with its standard error; its status where it is no number; missing where it was not
// measured.
Cell score_cell(const Score& score, Metric metric);

// a - b over the same examples, by the values that the store keeps. Nothing where either has no
// number, or its values are not kept.
std::optional<Estimate> stored_difference(const Store& store, const Record& a, const Record& b,
                                          Metric metric);

// Two cells: a difference, and that in standard errors.
void add_difference(std::vector<Cell>& row, const std::optional<Estimate>& difference);

}  // namespace mnm
