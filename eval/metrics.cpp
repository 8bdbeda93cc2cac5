#include "eval/metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "eval/paired.h"

namespace mnm {

const std::array<MetricRow, kMetricCount>& metric_table() {
  static constexpr std::array<MetricRow, kMetricCount> kTable = {{
      {.metric = Metric::kLoss,
       .name = "loss",
       .title = "loss, nats/token",
       .unit = "loss, nats per token",
       .estimate = mean_of,
       .difference = paired_difference,
       .meaning = "the negative logarithm of the target's probability"},
      {.metric = Metric::kAccuracy,
       .name = "accuracy",
       .title = "accuracy",
       .unit = "accuracy, share of targets",
       .larger_wins = true,
       .estimate = mean_of,
       .difference = paired_difference,
       .meaning = "the share of targets that are the most likely word"},
      {.metric = Metric::kKl,
       .name = "kl",
       .title = "KL to full",
       .unit = "KL to the full model, nats per token",
       .needs_full = true,
       .estimate = mean_of,
       .difference = paired_difference,
       .meaning = "KL(full model || submodel)"},
      {.metric = Metric::kAgreement,
       .name = "agreement",
       .title = "agreement",
       .unit = "agreement with the full model",
       .larger_wins = true,
       .needs_full = true,
       .estimate = mean_of,
       .difference = paired_difference,
       .meaning = "the share of positions where the full model's most likely word is the "
                  "submodel's too"},
      {.metric = Metric::kAcceptance,
       .name = "acceptance",
       .title = "acceptance",
       .unit = "acceptance by the full model",
       .larger_wins = true,
       .needs_full = true,
       .second_pass = true,
       .estimate = mean_of,
       .difference = paired_difference,
       .meaning = "the probability that speculative sampling at temperature 1 keeps a word that "
                  "the submodel drafts for the full model"},
      {.metric = Metric::kAccuracy5,
       .name = "accuracy5",
       .title = "top-5 accuracy",
       .unit = "top-5 accuracy, share of targets",
       .larger_wins = true,
       .second_pass = true,
       .estimate = mean_of,
       .difference = paired_difference,
       .meaning = "the share of targets that are among the five most likely words or classes"},
  }};
  return kTable;
}

const MetricRow& row_of(Metric metric) { return metric_table()[static_cast<std::size_t>(metric)]; }

std::vector<std::string_view> metric_names() {
  std::vector<std::string_view> names;
  for (const MetricRow& row : metric_table()) names.push_back(row.name);
  return names;
}

Metric parse_metric(std::string_view name) {
  for (const MetricRow& row : metric_table()) {
    if (row.name == name) return row.metric;
  }
  fail_usage("there is no metric '{}': expected one of {}", name, fmt::join(metric_names(), ", "));
}

std::vector<MetricRow> measured_for(std::span<const Metric> wanted) {
  const bool full =
      std::ranges::any_of(wanted, [](Metric metric) { return row_of(metric).needs_full; });
  std::vector<MetricRow> measured;
  for (const MetricRow& row : metric_table()) {
    const bool asked = std::ranges::find(wanted, row.metric) != wanted.end();
    if (row.second_pass ? asked : full || !row.needs_full) measured.push_back(row);
  }
  return measured;
}

double objective_of(Metric metric, double value) {
  if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
  return row_of(metric).larger_wins ? -value : value;
}

}  // namespace mnm
