// What the front of a store proves: which members differ, how sure the best under a budget is, and
// how much of its score was luck. All by the values per example that the store keeps.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "db/store.h"
#include "eval/standard_error.h"

namespace mnm {

// Two members are distinguishable where the corrected p of no difference is at most this.
inline constexpr double kAlpha = 0.05;

// Whether all layers have one width, and it is one of `trained` ("64,128,256,512").
bool is_uniform_granularity(const Widths& widths, const std::string& trained);

// For each member of one front, by ascending cost, the p of the paired t test that it scores as the
// member before it does, by Holm's correction for the number of neighbours. NaN for the first, and
// where values are not kept. Holm's and not Bonferroni's: it finds at least as much, and neighbours
// share members, which neither minds.
std::vector<double> neighbour_p(const Store& store, std::span<const Record> front, Metric metric);

// Indices of members of which each is distinguishable from the one before it. From the cheapest on,
// the next is the first that differs from the last kept one; so which pairs are looked at depends
// on what was found, and the correction is for all pairs of members.
std::vector<std::size_t> distinct_members(const Store& store, std::span<const Record> front,
                                          Metric metric);

// One submodel against another.
struct Comparison {
  Record other;
  // The paired difference, best minus other, and how likely the best is the better one. Nothing
  // where values per example are not kept.
  std::optional<Estimate> difference;
  std::optional<double> probability;
};

struct BestWithin {
  Record best;
  std::optional<Comparison> runner_up;  // the second best score of all within the budget
  // The best uniform granularity within the budget; nothing where the best is that, or none is.
  std::optional<Comparison> best_uniform;
};

// How likely `best` is better than `other`.
Comparison compared(const Store& store, const Record& best, const Record& other, Metric metric);

// Of the records of one model, dataset and dtype that are within a budget. Nothing where none has a
// number. The best score wins; of equal ones the cheaper, then the first recorded.
std::optional<BestWithin> best_within(const Store& store, std::span<const Record> records,
                                      const std::string& trained, Metric metric, CostKind cost);

// The winner's bias: what its score owes to being chosen by it.
struct WinnersBias {
  Record confirmed;     // the same submodel on the confirm part
  Estimate difference;  // search minus confirm: of different texts, so also of what these differ in
  // The same of its paired difference to the best uniform one, which is free of that.
  std::optional<Estimate> of_lead;
};

// Nothing where no confirm part of the model's searches has a score of it. Errors of the two parts
// are independent: `samples` is of the smaller one.
std::optional<WinnersBias> winners_bias(const Store& store, const Record& best,
                                        const std::optional<Record>& uniform, Metric metric);

}  // namespace mnm
