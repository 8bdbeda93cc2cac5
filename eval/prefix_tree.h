// The shared plan: a set of candidates as a prefix tree, as plain data, with its own cost.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/flops.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

struct PlanNode {
  std::int32_t parent = 0;  // index into the level above (level 0: 0, the embedding)
  Width width = 0;
};

struct PrefixTree {
  // levels[l]: the distinct prefixes of l + 1 widths, grouped by parent in the parents' order; a
  // parent's children ascend in width.
  std::vector<std::vector<PlanNode>> levels;
  std::vector<std::int32_t> leaf;  // [candidates]: index into levels.back(); duplicates share one

  std::size_t candidates() const { return leaf.size(); }
};

// Pure. Candidates need not be distinct or sorted; UsageError unless all have the same number of
// layers, at least one. Without candidates there are no levels.
PrefixTree make_prefix_tree(std::span<const Widths> candidates);

// Indices of the candidates, in groups that hold whole runs of neighbours in lexicographic order,
// so that what starts alike stays together; no level of a group's plan has more than `widest`
// nodes, at least 1. As few groups as runs taken one after the other make; all indices in one where
// it fits.
std::vector<std::vector<std::size_t>> split_by_prefix(std::span<const Widths> candidates,
                                                      std::int64_t widest);

// Forward FLOPs per token of carrying out a plan.
struct PlanCost {
  // This plan: each parent's widest child, what its siblings do for themselves, a readout per leaf.
  double shared = 0;
  double one_by_one = 0;  // every candidate alone
  double readout = 0;     // the part of both that is the head's product, once per leaf/candidate
  double gain() const { return one_by_one / shared; }
};
PlanCost cost_of(const PrefixTree& plan, const NestedModel& model, std::int64_t context,
                 double scored = 1);

}  // namespace mnm
