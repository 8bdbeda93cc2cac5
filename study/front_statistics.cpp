#include "study/front_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "eval/significance.h"
#include "study/score_cells.h"

namespace mnm {
namespace {

std::vector<std::vector<float>> examples_of(const Store& store, std::span<const Record> front,
                                            Metric metric) {
  std::vector<std::vector<float>> examples;
  examples.reserve(front.size());
  for (const Record& record : front) examples.push_back(store.per_example(record.id, metric));
  return examples;
}

double p_of_equal(const std::vector<float>& a, const std::vector<float>& b, Metric metric) {
  if (a.empty() || a.size() != b.size()) return std::numeric_limits<double>::quiet_NaN();
  return p_of_zero(row_of(metric).difference(a, b));
}

// a - b of two independent estimates.
Estimate independent_difference(const Estimate& a, const Estimate& b) {
  return {a.value - b.value, std::hypot(a.standard_error, b.standard_error),
          std::min(a.samples, b.samples)};
}

Estimate estimate_of(const Record& record, Metric metric) {
  return {record[metric]->value, record[metric]->standard_error, record.samples};
}

// The data that confirm what was found on the best one's: of the same searches. Where these
// confirmed nothing, the only confirm part of the model, if there is only one.
std::set<std::int64_t> confirm_data(const Store& store, const Record& best) {
  const auto session = [](const RunRow& run) { return run.session != 0 ? run.session : run.id; };
  const std::vector<RunRow> runs = store.runs();
  std::set<std::int64_t> sessions, searched, confirms, all;
  for (const RunRow& run : runs) {
    if (run.model != best.model) continue;
    if (run.data == best.data) sessions.insert(session(run));
    if (run.part == "search") searched.insert(run.data);
  }
  for (const RunRow& run : runs) {
    if (run.model != best.model || run.part != "confirm" || run.data == best.data) continue;
    if (searched.contains(run.data)) continue;  // and so chosen for being lucky
    all.insert(run.data);
    if (sessions.contains(session(run))) confirms.insert(run.data);
  }
  if (confirms.empty() && all.size() == 1) return all;
  return confirms;
}

}  // namespace

bool is_uniform_granularity(const Widths& widths, const std::string& trained) {
  if (!is_uniform(widths)) return false;
  return fmt::format(",{},", trained).find(fmt::format(",{},", widths.front())) !=
         std::string::npos;
}

std::vector<double> neighbour_p(const Store& store, std::span<const Record> front, Metric metric) {
  const std::vector<std::vector<float>> examples = examples_of(store, front, metric);
  std::vector<double> p(front.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 1; i < front.size(); ++i) {
    p[i] = p_of_equal(examples[i], examples[i - 1], metric);
  }
  return holm(p);
}

std::vector<std::size_t> distinct_members(const Store& store, std::span<const Record> front,
                                          Metric metric) {
  const std::vector<std::vector<float>> examples = examples_of(store, front, metric);
  const std::size_t n = front.size();
  std::vector<double> p(n * n, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) p[i * n + j] = p_of_equal(examples[i], examples[j], metric);
  }
  const std::vector<double> adjusted = holm(p);
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < n; ++i) {
    if (kept.empty() || adjusted[i * n + kept.back()] <= kAlpha) kept.push_back(i);
  }
  return kept;
}

Comparison compared(const Store& store, const Record& best, const Record& other, Metric metric) {
  Comparison comparison;
  comparison.other = other;
  comparison.difference = stored_difference(store, best, other, metric);
  if (comparison.difference) {
    const double below = probability_below_zero(*comparison.difference);
    if (!std::isnan(below)) {
      comparison.probability = row_of(metric).larger_wins ? 1 - below : below;
    }
  }
  return comparison;
}

std::optional<BestWithin> best_within(const Store& store, std::span<const Record> records,
                                      const std::string& trained, Metric metric, CostKind cost) {
  const Record *best = nullptr, *second = nullptr, *uniform = nullptr;
  const auto better = [&](const Record& a, const Record* b) {
    if (b == nullptr) return true;
    const auto key = [&](const Record& record) {
      return std::tuple(objective_of(metric, record.value(metric)), record.cost.of(cost),
                        record.id);
    };
    return key(a) < key(*b);
  };
  for (const Record& record : records) {
    if (!record.ok(metric)) continue;
    if (better(record, best)) {
      second = best;
      best = &record;
    } else if (better(record, second)) {
      second = &record;
    }
    if (is_uniform_granularity(record.widths, trained) && better(record, uniform)) {
      uniform = &record;
    }
  }
  if (best == nullptr) return std::nullopt;
  BestWithin found{*best, {}, {}};
  if (second != nullptr) found.runner_up = compared(store, *best, *second, metric);
  if (uniform != nullptr && uniform != best) {
    found.best_uniform = compared(store, *best, *uniform, metric);
  }
  return found;
}

std::optional<WinnersBias> winners_bias(const Store& store, const Record& best,
                                        const std::optional<Record>& uniform, Metric metric) {
  if (!best.ok(metric)) return std::nullopt;
  for (const std::int64_t data : confirm_data(store, best)) {
    const std::optional<Record> confirmed = store.find(best.model, data, best.dtype, best.widths);
    if (!confirmed || !confirmed->ok(metric)) continue;
    WinnersBias bias{
        *confirmed,
        independent_difference(estimate_of(best, metric), estimate_of(*confirmed, metric)),
        {},
        {}};
    if (uniform) {
      const std::optional<Record> other = store.find(best.model, data, best.dtype, uniform->widths);
      const auto searched = stored_difference(store, best, *uniform, metric);
      if (other) bias.confirmed_lead = compared(store, *confirmed, *other, metric);
      const auto held = other ? bias.confirmed_lead->difference : std::nullopt;
      if (searched && held) bias.of_lead = independent_difference(*searched, *held);
    }
    return bias;
  }
  return std::nullopt;
}

}  // namespace mnm
