#include "artifact/selection.h"

#include <algorithm>
#include <ranges>

#include "base/error.h"
#include "heuristics/least_slope.h"
#include "study/front_latency.h"
#include "study/store_rows.h"

namespace mnm {
std::int64_t data_to_choose_by(const Store& store, std::int64_t model, const std::string& name) {
  if (!name.empty()) return data_named(store, name, model);
  FrontQuery query;
  query.model = model;
  std::vector<std::int64_t> used, searched;
  const std::vector<DataUse> uses = store.data_uses();
  for (const Record& record : store.front(query)) {
    if (std::ranges::find(used, record.data) != used.end()) continue;
    used.push_back(record.data);
    if (part_of(uses, record.data, model).starts_with("search")) searched.push_back(record.data);
  }
  if (searched.size() == 1) return searched.front();
  if (used.size() == 1) return used.front();
  if (used.empty()) {
    fail_usage("the store has no scores of this checkpoint to choose the best from");
  }
  fail_usage("the store has scores on several datasets: name the one to choose by with --data");
}

std::optional<std::int64_t> model_in(const Store& store, const OpenedModel& opened) {
  const std::string fingerprint = opened.checkpoint.fingerprint();
  std::optional<std::int64_t> found;
  for (const auto& [id, row] : store.models()) {
    if (row.fingerprint == fingerprint) found = id;
  }
  return found;
}

namespace {

// Passes over records that were timed as wholes and found too slow. Such a time shows that the sums
// of this measurement are too low here. So if one falls out, and another was found fast enough,
// those that were never timed fall out, too.
void drop_too_slow(std::vector<Record>& front, const TimedWholes& timed) {
  const auto is_slow = [&](const Record& record) {
    return std::ranges::find(timed.too_slow, record.widths) != timed.too_slow.end();
  };
  const auto is_fast = [&](const Record& record) {
    return std::ranges::find(timed.fast_enough, record.widths) != timed.fast_enough.end();
  };
  const bool only_fast = std::ranges::any_of(front, is_slow) && std::ranges::any_of(front, is_fast);
  std::erase_if(front, [&](const Record& record) {
    return is_slow(record) || (only_fast && !is_fast(record));
  });
}

}  // namespace

Record best_record(const Store& store, std::int64_t model, const BestRequest& request) {
  FrontQuery query;
  query.model = model;
  query.data = data_to_choose_by(store, model, request.data);
  query.cost = request.cost;
  query.budgets = request.budgets;
  query.latency = request.latency;
  query.memory = request.memory;
  std::vector<Record> front = store.front(query);
  if (front.empty()) {
    require_something_within(store, query);
    fail_usage("no record within the budget has a loss that is a number");
  }
  const Dtype dtype = std::ranges::min_element(front, {}, &Record::dtype)->dtype;
  std::erase_if(front, [&](const Record& record) { return record.dtype != dtype; });
  if (request.counted_with) {
    drop_too_slow(front, timed_wholes(store, *request.counted_with, request.budgets));
    if (front.empty()) {
      fail_usage(
          "every member of the front within the budget was measured above it when a search timed "
          "it as a whole: search again with a smaller budget, measure again with 'mixnmatch "
          "latency', or name one with --record");
    }
  }
  return *std::ranges::min_element(front, {}, [](const Record& r) { return r.value(); });
}

namespace {

// The least-slope submodel at a place (heuristics/least_slope.h). `without`: with every layer left
// out that may be.
Widths least_slope_at(const WidthSpace& space, std::size_t place, bool without) {
  Widths widths = least_slope_member(space, place);
  for (std::size_t layer = 0; without && layer < widths.size(); ++layer) {
    if (space.layers[layer].may_skip) widths[layer] = kSkip;
  }
  return widths;
}

// The largest of these within the budgets. Nothing if none is.
std::optional<Widths> largest_within(const WidthSpace& space, const CostTable& costs,
                                     std::span<const Budget> budgets, bool without) {
  const auto within_budgets = [&](std::size_t place) {
    return within(costs.of(least_slope_at(space, place, without)), budgets);
  };
  // Each member is at least as wide in every layer as the one before, so exact costs only grow.
  // Measured latency may fall from one to the next: then every place is asked, from the widest.
  const auto places = std::views::iota(std::size_t{0}, least_slope_places(space));
  if (!counts(CostKind::kLatency, CostKind::kParams, budgets)) {
    const auto end = std::ranges::partition_point(places, within_budgets);
    if (end != places.begin()) return least_slope_at(space, *(end - 1), without);
  } else {
    for (const std::size_t place : places | std::views::reverse) {
      if (within_budgets(place)) return least_slope_at(space, place, without);
    }
  }
  return std::nullopt;
}

// The submodel with the least of every exact cost: each layer left out, or as narrow as it may be.
Widths smallest_of(const WidthSpace& space) {
  Widths widths = least_slope_at(space, 0, true);
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    const Width step = space.layers[layer].step;
    if (step > 0) widths[layer] = std::min(widths[layer], step);
  }
  return widths;
}

// `smallest`: of all submodels, `member`: of the least-slope ones.
[[noreturn]] void refuse_budgets(const CostTable& costs, std::span<const Budget> budgets,
                                 const Widths& smallest, const Widths& member) {
  const Cost least = costs.of(smallest), of_member = costs.of(member);
  const auto limit = [&](const Budget& budget) {
    return fmt::format("{} {}", budget.limit, cost_text(budget.kind, costs.basis()));
  };
  for (const Budget& budget : budgets) {
    if (within(least, {&budget, 1})) continue;
    fail_usage("no submodel is within the budget of {}: the smallest, {}, takes {}", limit(budget),
               to_string(smallest), least.of(budget.kind));
  }
  for (const Budget& budget : budgets) {
    if (within(of_member, {&budget, 1})) continue;
    fail_usage(
        "no least-slope submodel is within the budget of {}: the smallest, {}, takes {}, and the "
        "smallest of untrained widths, {}, takes {}; 'mixnmatch search --widths-step N' looks for "
        "those between",
        limit(budget), to_string(member), of_member.of(budget.kind), to_string(smallest),
        least.of(budget.kind));
  }
  fail_usage(
      "no least-slope submodel is within all of the budgets: 'mixnmatch search' tries others");
}

}  // namespace

Widths least_slope_within(const NestedModel& model, const CostTable& costs,
                          std::span<const Budget> budgets) {
  const WidthSpace& space = model.space;
  for (const bool without : {false, true}) {
    if (const auto widths = largest_within(space, costs, budgets, without)) return *widths;
  }
  // A measurement has no times of widths below the trained ones.
  const Widths member = least_slope_at(space, 0, true);
  const bool timed = counts(CostKind::kLatency, CostKind::kParams, budgets);
  refuse_budgets(costs, budgets, timed ? member : smallest_of(space), member);
}

std::optional<Record> scored_record(const Store& store, std::int64_t model, const Widths& widths) {
  std::optional<Record> found;
  const std::vector<DataUse> uses = store.data_uses();
  for (const auto& [id, row] : store.datasets()) {
    const bool confirmed = part_of(uses, id, model) == "confirm";
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const std::optional<Record> record = store.find(model, id, dtype, widths);
      if (!record || !record->ok()) continue;
      if (confirmed) return record;
      if (!found) found = record;
    }
  }
  return found;
}

}  // namespace mnm
