// A cascade of two submodels: the narrow one answers an example where it is sure, the wide one
// where it is not. What it costs and how often it is right follow from values per example alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "db/store.h"
#include "eval/standard_error.h"

namespace mnm {

// Of every example of one dataset, in its order: [examples] each.
struct CascadeExamples {
  std::vector<float> confidence;    // of the narrow one
  std::vector<float> narrow, wide;  // their accuracies
};

// Whether it is a number from 0 to 1, or above 1 by f32's rounding alone: what a confidence or an
// accuracy is, and a mean of them.
bool is_share(double value);

// All three are of the same examples, and there is at least one. Each value is a share (is_share).
// Otherwise UsageError, which calls the data by this name.
void require_cascade(const CascadeExamples& examples, std::string_view data);

// Per example. The narrow one computes every example. The wide one begins anew: it takes over
// nothing of what the narrow one computed.
struct CascadeFlops {
  std::int64_t narrow = 0, wide = 0;
};

// A cascade with one threshold, on one dataset.
struct CascadeScore {
  double goes_on = 0;  // the share of the examples that the wide one answers
  double flops = 0;    // per example: their mean
  Estimate accuracy;
  Estimate to_wide;  // accuracy minus that of the wide one alone, paired
};

// The accuracy of every example: the narrow one's where its confidence is at least the threshold,
// else the wide one's.
std::vector<float> cascade_accuracy(const CascadeExamples& examples, float threshold);
CascadeScore cascade_score(const CascadeExamples& examples, const CascadeFlops& flops,
                           float threshold);

// At most steps + 1 thresholds, ascending. At the first the narrow one answers everything; at each
// further one about 1 / steps of these examples more go on; at the last everything does. Examples
// of equal confidence go on together, so there may be fewer thresholds.
std::vector<float> cascade_thresholds(std::span<const float> confidence, std::size_t steps);

// What a threshold is chosen for.
struct CascadeGoal {
  double keep_accuracy = 0;                    // how much less than the wide one's it may be
  std::optional<std::int64_t> budget_flops{};  // in place of that: the most FLOPs per example
};

// The index of the cheapest score whose accuracy is at least that of the wide one minus
// keep_accuracy. With budget_flops, that of the best accuracy within it, the cheapest of equal
// ones. `scores`: of one dataset by ascending threshold. Nothing if no score meets the goal.
std::optional<std::size_t> chosen_threshold(std::span<const CascadeScore> scores,
                                            const CascadeGoal& goal);

// The single submodel that is compared with a cascade: the most accurate that costs no more FLOPs.
// It is of the front of accuracy over FLOPs of the model, data and dtype of `like`. Nothing if no
// member is that cheap.
std::optional<Record> best_single(const Store& store, const Record& like, double flops);

// "better" or "worse" if the t test that the true difference is zero has a p value of at most
// kAlpha (study/front_statistics.h), else "not distinguishable".
std::string_view cascade_verdict(const Estimate& difference);

}  // namespace mnm
