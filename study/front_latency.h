// The latency of submodels that a search has found, measured again when it ends. The search counts
// with sums of parts that were measured before it; here each submodel is timed as a whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "db/store.h"
#include "eval/latency.h"
#include "model/dtype.h"
#include "model/nested_model.h"
#include "search/budget.h"

namespace mnm {

// Makes a timer of passes over a workload. It is called once, and only if there is something to
// time.
using MakeTimer = std::function<std::unique_ptr<PassTimer>(const Workload&)>;

// Times the submodels by turns, over the workload of the measurement that the search counted with,
// and as often as it did. `run` is the first run of the search, and `seed` is of the order. Stores
// the times, and returns them in the order of the submodels. Error, and nothing is stored, if the
// measurement does not cover a submodel.
std::vector<WholeLatencyRow> measure_wholes(Store& store, const LatencyRow& counted_with,
                                            std::int64_t run, std::uint64_t seed,
                                            std::span<const Widths> submodels,
                                            const MakeTimer& make_timer,
                                            const ProgressSink& progress);

// The standard error of the median, in seconds.
double standard_error(const WholeLatencyRow& row);

// Whether the median is above a budget of latency by more than its standard error. No: if that is
// no number.
bool is_too_slow(const WholeLatencyRow& row, std::span<const Budget> budgets);

// Submodels that were timed as wholes, by is_too_slow.
struct TimedWholes {
  std::vector<Widths> fast_enough, too_slow;
};
// Those in the store. Only times that belong to this measurement count. Of several times of one
// submodel the newest stands.
TimedWholes timed_wholes(const Store& store, std::int64_t counted_with,
                         std::span<const Budget> budgets);

// Of each sequence of a pass, with the token that decode computes.
std::int64_t positions_of(const Workload& workload);

// The largest passes that are timed again, in positions of all their sequences, and the most
// repeats: what a store says of itself does not keep a machine busy for days.
inline constexpr std::int64_t kMostTimedPositions = 1 << 20, kMostTimedRepeats = 10'000;

// Why the measurement's passes are not timed again with this model: it has no such passes, or they
// are more than the above. The end of a sentence; "" if they can be.
std::string why_not_repeatable(const LatencyRow& counted_with, const NestedModel& model);

// Why this device cannot confirm what was measured on another one, or in another dtype: the end of
// a sentence. "" if it can.
std::string why_not_comparable(const LatencyRow& counted_with, const std::string& device,
                               Dtype dtype);

}  // namespace mnm
