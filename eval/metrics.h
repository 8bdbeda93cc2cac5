// The one table of metrics: what is measured of a submodel. Every metric has a value for every
// example, and the value of a submodel is estimated from these. The store, fronts, searches and
// tables take names, units and directions from here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/standard_error.h"

namespace mnm {

// In the order in which a readout computes them. First come the metrics that any pass over the
// vocabulary gives, then those that need the full model, then those that are measured on request,
// then those of retrieval, which need a database. Those of tasks come last. They follow from the
// losses (eval/task_scores.h).
enum class Metric : std::uint8_t {
  kLoss,
  kAccuracy,
  kKl,
  kAgreement,
  kAcceptance,
  kConfidence,
  kAccuracy5,
  kKnn,
  kMap,
  kPrecision,
  kRecall,
  kAcc,
  kAccNorm,
  kAccBytes,
  kWordPerplexity,
  kBytePerplexity,
  kBitsPerByte
};
inline constexpr std::size_t kMetricCount = 17;

struct MetricRow {
  Metric metric = Metric::kLoss;
  std::string_view name;     // of options, of the store, and of JSON and CSV
  std::string_view title;    // of a column, for people
  std::string_view unit;     // of an axis
  bool larger_wins = false;  // else the smaller value wins
  bool needs_full = false;   // compares with the model at full width
  bool on_request = false;   // reads the vocabulary once more: measured only when it is asked for
  // Searches a database for the features of the examples (dataset/retrieval.h). All such metrics
  // are measured when one of them is asked for.
  bool needs_database = false;
  std::string_view of{};  // the one kind of examples that has it: "questions"; empty: all kinds
  // Whether the values of some examples are the same whatever the others are. Else they are those
  // of all examples together (eval/task_scores.h), and the values of parts cannot be put together.
  bool of_parts = true;
  Estimate (*estimate)(std::span<const float> per_example) = nullptr;  // value and standard error
  Estimate (*difference)(std::span<const float> a, std::span<const float> b) = nullptr;  // paired
  std::string_view meaning;  // one sentence
};

// In the order of the enumeration.
const std::array<MetricRow, kMetricCount>& metric_table();
const MetricRow& row_of(Metric metric);
inline std::string_view to_string(Metric metric) { return row_of(metric).name; }

Metric parse_metric(std::string_view name);  // UsageError names them all
std::vector<std::string_view> metric_names();

// The metrics that a readout measures if `wanted` are asked for, in the order of the table. Every
// run measures loss and accuracy. A run that compares with the full model measures both KL and
// agreement. Those on request are measured if they are wanted themselves. A run that searches a
// database measures all metrics of retrieval.
std::vector<MetricRow> measured_for(std::span<const Metric> wanted);
// The same, and all metrics of tasks that only examples of this kind have.
std::vector<MetricRow> measured_on(std::string_view kind, std::span<const Metric> wanted);
// Whether one of the metrics searches a database.
bool need_database(std::span<const Metric> metrics);
// UsageError if examples of this kind do not have one of the metrics.
void require_metrics(std::span<const Metric> wanted, std::string_view kind);
// UsageError if one of the metrics searches a database and there is none, or the other way round.
void require_database(std::span<const Metric> wanted, bool there_is_one);

// One T for each metric.
template <typename T>
struct PerMetric {
  std::array<T, kMetricCount> values{};

  T& operator[](Metric metric) { return values[static_cast<std::size_t>(metric)]; }
  const T& operator[](Metric metric) const { return values[static_cast<std::size_t>(metric)]; }
  bool operator==(const PerMetric&) const = default;
};

// The metric's value as an objective, of which the smaller one wins. NaN if the value is not
// finite.
double objective_of(Metric metric, double value);

}  // namespace mnm
