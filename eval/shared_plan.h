// The shared-prefix plan: a set of candidates as a prefix tree, as plain data, with its own cost.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/cost.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

struct PlanNode {
  std::int32_t parent = 0;  // index into the level above (level 0: 0, the embedding)
  Width width = 0;
};

struct SharedPlan {
  // levels[l]: the distinct prefixes of l + 1 widths, grouped by parent in the parents' order; a
  // parent's children ascend in width.
  std::vector<std::vector<PlanNode>> levels;
  std::vector<std::int32_t> leaf;  // [candidates]: index into levels.back(); duplicates share one

  std::size_t candidates() const { return leaf.size(); }
};

// Pure. Candidates need not be distinct or sorted; UsageError unless all have the same number of
// layers, at least one. Without candidates there are no levels.
SharedPlan plan_shared(std::span<const Widths> candidates);

// Forward FLOPs per token of the parts of a model, as model/cost.h counts them for sequences of
// `context` tokens. The model outlives it.
class ForwardFlops {
 public:
  ForwardFlops(const NestedModel& model, std::int64_t context)
      : costs_(model, {model.dtype, context}) {}
  double layer(std::size_t layer, Width width) const { return costs_.layer(layer, width).flops; }
  double readout() const { return costs_.fixed().flops; }  // what belongs to no layer: the head

 private:
  CostTable costs_;
};

// Forward FLOPs per token of carrying out a plan.
struct PlanCost {
  double shared = 0;      // this plan: each parent's widest child, and a readout per leaf
  double one_by_one = 0;  // every candidate alone
  double readout = 0;     // the part of both that is the head's product, once per leaf/candidate
  double gain() const { return one_by_one / shared; }
};
PlanCost cost_of(const SharedPlan& plan, const NestedModel& model, std::int64_t context);

}  // namespace mnm
