#include "eval/metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "eval/paired.h"

namespace mnm {
namespace {

// exp(mean) of values whose mean has an error, by the delta method.
Estimate exp_of_mean(std::span<const float> per_example) {
  Estimate of = mean_of(per_example);
  of.value = std::exp(of.value);
  of.standard_error *= of.value;
  return of;
}

// exp(mean of a) - exp(mean of b), likewise.
Estimate difference_of_exp(std::span<const float> a, std::span<const float> b) {
  Estimate of = paired_difference(a, b);  // which refuses pairs of different examples
  const double of_a = exp_of_mean(a).value, of_b = exp_of_mean(b).value;
  std::vector<double> terms(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    terms[i] = of_a * static_cast<double>(a[i]) - of_b * static_cast<double>(b[i]);
  }
  of.value = of_a - of_b;
  of.standard_error = mean_of(terms).standard_error;
  return of;
}

// A row whose value is the mean of those of the examples.
constexpr MetricRow mean(MetricRow row) {
  row.estimate = mean_of;
  row.difference = paired_difference;
  return row;
}

// exp of that mean, over texts taken together.
constexpr MetricRow perplexity(MetricRow row) {
  row.of = "texts";
  row.of_parts = false;
  row.estimate = exp_of_mean;
  row.difference = difference_of_exp;
  return row;
}

// Of images, from a search of a database.
constexpr MetricRow of_retrieval(MetricRow row) {
  row.larger_wins = true;
  row.needs_database = true;
  row.of = "images";
  return mean(row);
}

constexpr MetricRow of_questions(MetricRow row) {
  row.larger_wins = true;
  row.of = "questions";
  return mean(row);
}

}  // namespace

const std::array<MetricRow, kMetricCount>& metric_table() {
  static constexpr std::array<MetricRow, kMetricCount> kTable = {
      mean({.metric = Metric::kLoss,
            .name = "loss",
            .title = "loss, nats/token",
            .unit = "loss, nats per token",
            .meaning = "the negative logarithm of the target's probability"}),
      mean({.metric = Metric::kAccuracy,
            .name = "accuracy",
            .title = "accuracy",
            .unit = "accuracy, share of targets",
            .larger_wins = true,
            .meaning = "the share of targets that are the most likely word"}),
      mean({.metric = Metric::kKl,
            .name = "kl",
            .title = "KL to full",
            .unit = "KL to the full model, nats per token",
            .needs_full = true,
            .meaning = "KL(full model || submodel)"}),
      mean({.metric = Metric::kAgreement,
            .name = "agreement",
            .title = "agreement",
            .unit = "agreement with the full model",
            .larger_wins = true,
            .needs_full = true,
            .meaning = "the share of positions where the full model's most likely word is the "
                       "submodel's too"}),
      mean({.metric = Metric::kAcceptance,
            .name = "acceptance",
            .title = "acceptance",
            .unit = "acceptance by the full model",
            .larger_wins = true,
            .needs_full = true,
            .on_request = true,
            .meaning =
                "the probability that speculative sampling at temperature 1 keeps a word that "
                "the submodel drafts for the full model"}),
      mean({.metric = Metric::kConfidence,
            .name = "confidence",
            .title = "confidence",
            .unit = "confidence, probability of the most likely",
            .larger_wins = true,
            .on_request = true,
            .meaning = "the probability of the most likely word or class"}),
      mean(
          {.metric = Metric::kAccuracy5,
           .name = "accuracy5",
           .title = "top-5 accuracy",
           .unit = "top-5 accuracy, share of targets",
           .larger_wins = true,
           .on_request = true,
           .meaning = "the share of targets that are among the five most likely words or classes"}),
      of_retrieval(
          {.metric = Metric::kKnn,
           .name = "knn",
           .title = "1-NN accuracy",
           .unit = "1-NN accuracy, share of queries",
           .meaning = "the share of queries whose nearest item of the database has their class"}),
      of_retrieval({.metric = Metric::kMap,
                    .name = "map",
                    .title = "mAP@k",
                    .unit = "mean average precision of the k nearest items",
                    .meaning = "the precision up to each of the k nearest items that has the "
                               "query's class, summed and divided by k"}),
      of_retrieval({.metric = Metric::kPrecision,
                    .name = "precision",
                    .title = "precision@k",
                    .unit = "precision of the k nearest items",
                    .meaning = "the share of the k nearest items that have the query's class"}),
      of_retrieval({.metric = Metric::kRecall,
                    .name = "recall",
                    .title = "recall@k",
                    .unit = "recall of the k nearest items",
                    .meaning = "the share of the database's items of the query's class that are "
                               "among the k nearest"}),
      of_questions({.metric = Metric::kAcc,
                    .name = "acc",
                    .title = "acc",
                    .unit = "acc, share of questions",
                    .meaning = "the share of questions whose most likely choice is the right one"}),
      of_questions(
          {.metric = Metric::kAccNorm,
           .name = "acc_norm",
           .title = "acc_norm",
           .unit = "acc_norm, share of questions",
           .meaning = "the same, with the log-likelihood of a choice divided by its characters"}),
      of_questions(
          {.metric = Metric::kAccBytes,
           .name = "acc_bytes",
           .title = "acc_bytes",
           .unit = "acc_bytes, share of questions",
           .meaning = "the same, with the log-likelihood of a choice divided by its bytes"}),
      perplexity({.metric = Metric::kWordPerplexity,
                  .name = "word_perplexity",
                  .title = "word perplexity",
                  .unit = "perplexity per word",
                  .meaning = "exp of the loss of all texts divided by their words"}),
      perplexity({.metric = Metric::kBytePerplexity,
                  .name = "byte_perplexity",
                  .title = "byte perplexity",
                  .unit = "perplexity per byte",
                  .meaning = "exp of the loss of all texts divided by their bytes"}),
      mean({.metric = Metric::kBitsPerByte,
            .name = "bits_per_byte",
            .title = "bits per byte",
            .unit = "bits per byte",
            .of = "texts",
            .of_parts = false,
            .meaning = "the loss of all texts in bits divided by their bytes"}),
  };
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
  const bool database = need_database(wanted);
  std::vector<MetricRow> measured;
  for (const MetricRow& row : metric_table()) {
    if (row.needs_database && database) measured.push_back(row);
    if (!row.of.empty()) continue;
    const bool asked = std::ranges::find(wanted, row.metric) != wanted.end();
    if (row.on_request ? asked : full || !row.needs_full) measured.push_back(row);
  }
  return measured;
}

std::vector<MetricRow> measured_on(std::string_view kind, std::span<const Metric> wanted) {
  std::vector<MetricRow> measured = measured_for(wanted);
  for (const MetricRow& row : metric_table()) {
    if (!row.of.empty() && row.of == kind && !row.needs_database) measured.push_back(row);
  }
  return measured;
}

void require_metrics(std::span<const Metric> wanted, std::string_view kind) {
  for (const Metric metric : wanted) {
    const MetricRow& row = row_of(metric);
    if (row.of.empty() || row.of == kind) continue;
    fail_usage("the metric {} is one of {}, and the data are {}{}", row.name, row.of, kind,
               row.needs_database ? "" : ": make a task with 'mixnmatch tasks'");
  }
}

bool need_database(std::span<const Metric> metrics) {
  return std::ranges::any_of(metrics, [](Metric metric) { return row_of(metric).needs_database; });
}

void require_database(std::span<const Metric> wanted, bool there_is_one) {
  if (need_database(wanted) == there_is_one) return;
  if (!there_is_one) {
    const auto metric =
        std::ranges::find_if(wanted, [](Metric each) { return row_of(each).needs_database; });
    fail_usage("the metric {} searches a database of images: name one with --database",
               to_string(*metric));
  }
  std::vector<std::string_view> names;
  for (const MetricRow& row : metric_table()) {
    if (row.needs_database) names.push_back(row.name);
  }
  fail_usage("a database is searched for the metrics {} alone: name one of them with --metric",
             fmt::join(names, ", "));
}

double objective_of(Metric metric, double value) {
  if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
  return row_of(metric).larger_wins ? -value : value;
}

}  // namespace mnm
