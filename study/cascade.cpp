#include "study/cascade.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "eval/paired.h"
#include "eval/significance.h"
#include "study/front_statistics.h"

namespace mnm {

bool is_share(double value) {
  constexpr double kMost = 1 + 0x1p-20;  // a softmax in f32 may say a little more than 1
  return value >= 0 && value <= kMost;   // NaN is neither
}

void require_cascade(const CascadeExamples& examples, std::string_view data) {
  const auto& [confidence, narrow, wide] = examples;
  if (narrow.empty() || confidence.size() != narrow.size() || wide.size() != narrow.size()) {
    fail_usage(
        "cannot make a cascade of values on different examples: on {} the narrow submodel has {} "
        "accuracies and {} confidences, the wide one {} accuracies",
        data, narrow.size(), confidence.size(), wide.size());
  }
  for (const std::vector<float>* values : {&confidence, &narrow, &wide}) {
    const auto bad = std::ranges::find_if_not(*values, is_share);
    if (bad == values->end()) continue;
    fail_usage("cannot make a cascade on {}: the {} of its example {} is {}, expected 0 to 1", data,
               values == &confidence ? "confidence" : "accuracy", bad - values->begin(), *bad);
  }
}

std::vector<float> cascade_accuracy(const CascadeExamples& examples, float threshold) {
  std::vector<float> accuracy(examples.narrow.size());
  for (std::size_t i = 0; i < accuracy.size(); ++i) {
    accuracy[i] = examples.confidence[i] >= threshold ? examples.narrow[i] : examples.wide[i];
  }
  return accuracy;
}

CascadeScore cascade_score(const CascadeExamples& examples, const CascadeFlops& flops,
                           float threshold) {
  const std::vector<float> accuracy = cascade_accuracy(examples, threshold);
  const auto unsure = std::ranges::count_if(
      examples.confidence, [threshold](float confidence) { return confidence < threshold; });
  CascadeScore score;
  score.goes_on = static_cast<double>(unsure) / static_cast<double>(accuracy.size());
  score.flops = static_cast<double>(flops.narrow) + score.goes_on * static_cast<double>(flops.wide);
  score.accuracy = mean_of(std::span<const float>(accuracy));
  score.to_wide = paired_difference(accuracy, examples.wide);
  return score;
}

std::vector<float> cascade_thresholds(std::span<const float> confidence, std::size_t steps) {
  std::vector<float> sorted(confidence.begin(), confidence.end());
  std::ranges::sort(sorted);
  std::vector<float> thresholds;
  for (std::size_t step = 0; step < steps && !sorted.empty(); ++step) {
    const float threshold = sorted[step * sorted.size() / steps];
    if (thresholds.empty() || threshold > thresholds.back()) thresholds.push_back(threshold);
  }
  if (!sorted.empty()) {
    thresholds.push_back(std::nextafter(sorted.back(), std::numeric_limits<float>::infinity()));
  }
  return thresholds;
}

std::optional<std::size_t> chosen_threshold(std::span<const CascadeScore> scores,
                                            const CascadeGoal& goal) {
  std::optional<std::size_t> chosen;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!goal.budget_flops) {
      if (scores[i].to_wide.value >= -goal.keep_accuracy) return i;
      continue;
    }
    if (scores[i].flops > static_cast<double>(*goal.budget_flops)) continue;
    if (!chosen || scores[i].accuracy.value > scores[*chosen].accuracy.value) chosen = i;
  }
  return chosen;
}

std::optional<Record> best_single(const Store& store, const Record& like, double flops) {
  FrontQuery query;
  query.model = like.model;
  query.data = like.data;
  query.dtype = like.dtype;
  query.metric = Metric::kAccuracy;
  query.cost = CostKind::kFlops;
  constexpr double kMostFlops = 0x1p62;  // a store may claim more, and the sum of two not fit
  query.max_cost = static_cast<std::int64_t>(std::floor(std::min(flops, kMostFlops)));
  std::vector<Record> front = store.front(query);
  if (front.empty()) return std::nullopt;
  return std::move(front.back());
}

std::string_view cascade_verdict(const Estimate& difference) {
  const double p = p_of_zero(difference);
  if (std::isnan(p) || p > kAlpha) return "not distinguishable";
  return difference.value > 0 ? "better" : "worse";
}

}  // namespace mnm
