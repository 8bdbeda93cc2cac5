// Statistics of the front of a store: which members really differ, how sure it is that the best one
// under a budget is the best, and how much of its score was luck. All are computed from the values
// per example that the store keeps.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "db/store.h"
#include "eval/standard_error.h"

namespace mnm {

// Two members are distinguishable if the p value of "no difference", corrected for the number of
// tests, is at most this.
inline constexpr double kAlpha = 0.05;

// Whether all layers have one width, and it is one of `trained` ("64,128,256,512").
bool is_uniform_granularity(const Widths& widths, const std::string& trained);

// For each member of one front, by ascending cost: the p value of the paired t test that it scores
// the same as the member before it. It is corrected for the number of tests by Holm's method, which
// finds at least as much as Bonferroni's. Both hold although the tests are not independent. NaN for
// the first member, and if the values per example are not kept.
std::vector<double> neighbour_p(const Store& store, std::span<const Record> front, Metric metric);

// The indices of members of which each is distinguishable from the one before it in the list. The
// cheapest member is the first; after each, the next is the first one that differs from it. Which
// pairs are compared depends on what was found, so the correction is for all pairs of members.
std::vector<std::size_t> distinct_members(const Store& store, std::span<const Record> front,
                                          Metric metric);

// One submodel against another.
struct Comparison {
  Record other;
  // The paired difference, best minus other, and the probability that the best is the better one.
  // Nothing if the values per example are not kept.
  std::optional<Estimate> difference;
  std::optional<double> probability;
};

struct BestWithin {
  Record best;
  std::optional<Comparison> runner_up;  // the second best score of all within the budget
  // The best uniform granularity within the budget. Nothing if there is none, or it is `best`.
  std::optional<Comparison> best_uniform;
};

// Compares `best` with `other`.
Comparison compared(const Store& store, const Record& best, const Record& other, Metric metric);

// The best of `records`, which are of one model, dataset and dtype and within a budget. The best
// score wins; of equal scores the cheaper, and then the first recorded. Nothing if no record has a
// number as its score.
std::optional<BestWithin> best_within(const Store& store, std::span<const Record> records,
                                      const std::string& trained, Metric metric, CostKind cost);

// The winner's bias: how much of the best submodel's score is due to its having been chosen by that
// score.
struct WinnersBias {
  Record confirmed;  // the same submodel on the confirm part
  // Search part minus confirm part. The texts of the parts differ, so this also contains the
  // difference between the texts.
  Estimate difference;
  // The same for the paired difference between the best and the best uniform submodel. In it the
  // difference between the texts cancels.
  std::optional<Estimate> of_lead;
  // The best submodel against that uniform one on the confirm part, which chose neither.
  std::optional<Comparison> confirmed_lead;
};

// Nothing if the best submodel was not scored on a confirm part of the same search, or, where that
// search confirmed nothing, on the only confirm part that the store has of the model. The errors
// of the two parts are independent. `samples` is that of the smaller part.
std::optional<WinnersBias> winners_bias(const Store& store, const Record& best,
                                        const std::optional<Record>& uniform, Metric metric);

}  // namespace mnm
