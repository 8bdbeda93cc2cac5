// The end of a search: its front is scored on tokens that did not choose it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "eval/statistics.h"
#include "families/open_model.h"
#include "model/budget.h"
#include "study/scorer.h"

namespace mnm {

struct ConfirmRequest {
  const OpenedModel& opened;
  Store& store;
  Scorer& scorer;
  std::int64_t model = 0, search_data = 0;  // rows of the store
  std::vector<std::int64_t> runs{};         // whose front it is
  const Examples* data = nullptr;  // the confirm part; null: the search part's scores stand
  Metric metric = Metric::kLoss;   // that the scorer measures
  CostKind cost = CostKind::kParams;
  std::vector<Budget> budgets{};
  const LatencyTable* latency = nullptr;  // where that is a cost asked for
  // Of the confirming run: session, settings, command line and seed; the rest is filled in.
  RunRow run{};
  ProgressSink progress{};  // of scoring the confirm part; false: stop
};

struct ConfirmedMember {
  Widths widths;
  Cost cost;
  bool on_front = false;  // of the search part; else a uniform granularity, for comparison
  bool uniform = false;
  bool within_budget = true;  // the next larger uniform one is not
  std::optional<Record> searched;
  std::optional<Record> confirmed;
  std::optional<Estimate> difference;  // to the best uniform one within the budgets, paired
};

struct ConfirmedFront {
  Metric metric = Metric::kLoss;
  CostKind cost = CostKind::kParams;
  bool confirmed = false;
  std::vector<ConfirmedMember> members;     // by ascending cost
  std::optional<std::size_t> best;          // the best of the search part within budget
  std::optional<std::size_t> best_uniform;  // the best of the part that is reported
};

// The front's members, the uniform granularities within the budgets and the next larger one, each
// scored on the confirm part where the store does not know it; kept as a run of its own. The best
// is chosen by the search part alone, so that its confirmed score is free of the choice.
ConfirmedFront confirm_front(const ConfirmRequest& request);

// It is there, and what the front is taken of is a number.
bool is_ok(const ConfirmedFront& front, const std::optional<Record>& record);

// The score of a member that is reported: of the confirm part where that was scored.
const std::optional<Record>& reported(const ConfirmedFront& front, const ConfirmedMember& member);

}  // namespace mnm
