#include "study/score_cells.h"

#include <string>

namespace mnm {

std::string_view cost_axis(CostKind kind) {
  switch (kind) {
    case CostKind::kParams:
      return "parameters";
    case CostKind::kNonEmbedding:
      return "parameters without embedding and head";
    case CostKind::kBytes:
      return "bytes of weights";
    case CostKind::kFlops:
      return "FLOPs per token, forward";
    case CostKind::kMemory:
      return "bytes of weights and cache";
    case CostKind::kLatency:
      return "nanoseconds of a pass";
  }
  return "";
}

Cell score_cell(const Score& score, Metric metric) {
  if (!score[metric]) return missing_cell();
  if (!score.ok(metric)) return {std::string(score.status(metric)), nullptr, {}};
  return measured_cell(score[metric]->value, score[metric]->standard_error);
}

std::optional<Estimate> stored_difference(const Store& store, const Record& a, const Record& b,
                                          Metric metric) {
  if (!a.ok(metric) || !b.ok(metric)) return std::nullopt;
  const std::vector<float> of_a = store.per_example(a.id, metric);
  const std::vector<float> of_b = store.per_example(b.id, metric);
  if (of_a.empty() || of_b.empty()) return std::nullopt;
  return row_of(metric).difference(of_a, of_b);
}

void add_difference(std::vector<Cell>& row, const std::optional<Estimate>& difference) {
  if (!difference) {
    row.insert(row.end(), {missing_cell(), missing_cell()});
    return;
  }
  row.push_back(measured_cell(difference->value, difference->standard_error));
  row.push_back(difference->standard_error > 0
                    ? real_cell(difference->value / difference->standard_error, 1)
                    : missing_cell());
}

}  // namespace mnm
