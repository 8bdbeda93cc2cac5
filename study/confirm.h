// The end of a search: the members of its front are scored on tokens that did not choose them, and
// if latency was counted, they are timed as whole submodels.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "eval/standard_error.h"
#include "families/open_model.h"
#include "search/budget.h"
#include "study/front_latency.h"
#include "study/halving.h"
#include "study/scorer.h"

namespace mnm {

struct ConfirmRequest {
  const OpenedModel& opened;
  Store& store;
  Scorer& scorer;
  std::span<const RunRow> runs;  // of the store, whose front it is: of one model, data and dtype
  // Members without a score on all the data of the runs. What a member of the front or another of
  // these beats is left out.
  std::span<const ExpectedMember> expected{};
  const Examples* data = nullptr;     // the confirm part; null: the search part's scores stand
  const WidthSpace* space = nullptr;  // of the uniform submodels; null: the model's
  Metric metric = Metric::kLoss;      // that the scorer measures
  CostKind cost = CostKind::kParams;
  std::vector<Budget> budgets{};
  const LatencyTable* latency = nullptr;  // where that is a cost asked for
  // The measurement that the table is of. Given: members are timed by make_timer, and stored.
  const LatencyRow* counted_with = nullptr;
  MakeTimer make_timer{};
  CacheLoad cache{};  // what memory is counted with
  // For the confirming run: session, settings, command line and seed. The rest is filled in.
  RunRow run{};
  ProgressSink progress{};  // of scoring the confirm part; false: stop
  ProgressSink timing{};    // of timing the members; likewise
};

struct ConfirmedMember {
  Widths widths;
  Cost cost;
  bool on_front = false;  // of the search part
  bool expected = false;  // on the front, by a search with halving: it has no score on all examples
  bool uniform = false;   // for comparison, if it is neither
  bool within_budget = true;  // false for the next larger uniform submodel
  bool too_slow = false;      // is_too_slow(*timed): it is not called the best
  std::optional<Record> searched;
  std::optional<Record> confirmed;
  std::optional<WholeLatencyRow> timed;  // as a whole, at the end
  std::optional<Estimate> difference;    // paired, to the best uniform submodel within the budgets
};

struct ConfirmedFront {
  Metric metric = Metric::kLoss;
  CostKind cost = CostKind::kParams;
  bool confirmed = false;
  std::string why_not_timed;                // although latency was counted: the end of a sentence
  bool stopped = false;                     // request.timing asked to stop, so nothing was timed
  std::vector<ConfirmedMember> members;     // by ascending cost
  std::optional<std::size_t> best;          // by the search part, within the budgets
  std::optional<std::size_t> best_uniform;  // by the part that is reported
};

// Scores the members of the front, those that are expected on it, the uniform submodels within the
// budgets and the next larger uniform one on the confirm part, unless the store knows their scores.
// The scores are kept as a run of their own. Only the search part chooses the best member, so its
// confirmed score is free of that choice. If the members are timed, one that is too slow is neither
// the best nor the best uniform one. If passes are not to be repeated (why_not_repeatable), or if
// timing fails, the front stands as it was predicted, and why_not_timed says why. DeviceLost and
// UsageError go on.
ConfirmedFront confirm_front(const ConfirmRequest& request);

// Whether the record exists and its metric is a number.
bool is_ok(const ConfirmedFront& front, const std::optional<Record>& record);

// The record of a member that is reported: that of the confirm part, if it was scored.
const std::optional<Record>& reported(const ConfirmedFront& front, const ConfirmedMember& member);

}  // namespace mnm
