#include "study/front_latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/random.h"

namespace mnm {

std::vector<WholeLatencyRow> measure_wholes(Store& store, const LatencyRow& counted_with,
                                            std::int64_t run, std::uint64_t seed,
                                            std::span<const Widths> submodels,
                                            const MakeTimer& make_timer,
                                            const ProgressSink& progress) {
  if (submodels.empty()) return {};
  const LatencyTable table(counted_with.measured.parts);
  std::vector<WholeLatencyRow> rows;
  for (const Widths& widths : submodels) {
    WholeLatencyRow row;
    row.latency = counted_with.id;
    row.run = run;
    row.measured.widths = widths;
    row.measured.predicted = table.of(widths);
    row.repeats = counted_with.measured.repeats;
    rows.push_back(std::move(row));
  }
  const std::unique_ptr<PassTimer> timer = make_timer(counted_with.measured.workload);
  LatencySettings settings;
  settings.repeats = counted_with.measured.repeats;
  Random random(seed);
  const std::vector<Timing> timings = time_wholes(
      submodels, settings, *timer, [&](std::uint64_t n) { return random.below(n); }, progress);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].measured.seconds = timings[i];
  store.add_whole_latencies(rows);
  return rows;
}

double standard_error(const WholeLatencyRow& row) {
  return median_error(row.measured.seconds, row.repeats);
}

bool is_too_slow(const WholeLatencyRow& row, std::span<const Budget> budgets) {
  const double error = standard_error(row);
  if (std::isnan(error)) return false;
  return std::ranges::any_of(budgets, [&](const Budget& budget) {
    return budget.kind == CostKind::kLatency &&
           1e9 * (row.measured.seconds.median - error) > static_cast<double>(budget.limit);
  });
}

TimedWholes timed_wholes(const Store& store, std::int64_t counted_with,
                         std::span<const Budget> budgets) {
  std::map<Widths, WholeLatencyRow> newest;
  for (WholeLatencyRow& row : store.whole_latencies(counted_with)) {
    const Widths widths = row.measured.widths;
    newest.insert_or_assign(widths, std::move(row));
  }
  TimedWholes timed;
  for (const auto& [widths, row] : newest) {
    (is_too_slow(row, budgets) ? timed.too_slow : timed.fast_enough).push_back(widths);
  }
  return timed;
}

std::int64_t positions_of(const Workload& workload) {
  return workload.length + (workload.phase == Phase::kDecode ? 1 : 0);
}

std::string why_not_repeatable(const LatencyRow& counted_with, const NestedModel& model) {
  const Workload& workload = counted_with.measured.workload;
  const std::int64_t positions = positions_of(workload), repeats = counted_with.measured.repeats;
  const std::string passes = fmt::format("latency {} is of {} sequences of {} positions, ",
                                         counted_with.id, workload.batch, positions);
  if (!model.reads_tokens() &&
      (workload.phase != Phase::kPrefill || positions != model.max_context)) {
    return passes +
           fmt::format("and the model computes the {} of an example at once", model.max_context);
  }
  if (positions > model.max_context) {
    return passes + fmt::format("and the model has {}", model.max_context);
  }
  if (workload.batch > kMostTimedPositions / positions) {
    return passes +
           fmt::format("and at most {} positions in all are timed again", kMostTimedPositions);
  }
  if (repeats > kMostTimedRepeats) {
    return fmt::format("latency {} is of {} repeats, and at most {} are made again",
                       counted_with.id, repeats, kMostTimedRepeats);
  }
  return {};
}

std::string why_not_comparable(const LatencyRow& counted_with, const std::string& device,
                               Dtype dtype) {
  const Latency& measured = counted_with.measured;
  if (measured.device == device && measured.dtype == dtype) return {};
  return fmt::format("latency {} is of {} in {}, and this search runs on {} in {}", counted_with.id,
                     measured.device, to_string(measured.dtype), device, to_string(dtype));
}

}  // namespace mnm
