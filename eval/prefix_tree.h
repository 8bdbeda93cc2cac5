// A set of candidates as a prefix tree, by which they share work: the shared plan. Plain data, with
// its cost.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/flops.h"
#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

// A part of a level: nodes [begin, end). They are all children of the parents [first, last), or
// some children of one parent.
struct TreeStep {
  std::int64_t first = 0, last = 0;
  std::int64_t begin = 0, end = 0;

  std::int64_t parents() const { return last - first; }
  std::int64_t nodes() const { return end - begin; }
};

// The nodes of one level of the tree, grouped by their parents, which are the nodes of the level
// above. The children of parent p are nodes [first[p], first[p + 1]), at least one. Their widths
// ascend and differ. So a skipped child comes first, and the widest child last.
struct Children {
  std::vector<std::int32_t> first = {0};  // [parents + 1]
  std::vector<Width> widths;              // [nodes]

  std::int64_t parents() const { return static_cast<std::int64_t>(first.size()) - 1; }
  std::int64_t nodes() const { return static_cast<std::int64_t>(widths.size()); }
  std::int64_t begin_of(std::int64_t parent) const {
    return first[static_cast<std::size_t>(parent)];
  }
  std::span<const Width> of(std::int64_t parent) const;
  std::int64_t most(
      std::int64_t parents) const;  // the most children of so many neighbouring parents

  void add(std::int64_t parent, Width width);  // in the order above
  Children of(const TreeStep& step) const;     // that part of the level, counted from its start
};

struct PrefixTree {
  // levels[l]: the distinct prefixes of l + 1 widths. Level 0 has one parent, the embedding.
  std::vector<Children> levels;
  std::vector<std::int32_t> leaf;  // [candidates]: node of levels.back(); duplicates share one

  std::size_t candidates() const { return leaf.size(); }
};

// Makes the tree. Pure. Candidates need not be distinct or sorted. UsageError unless all have the
// same number of layers, at least one. Without candidates there are no levels.
PrefixTree make_prefix_tree(std::span<const Widths> candidates);

// Splits the candidates into groups whose plans have at most `widest` nodes (at least 1) at every
// level. Returns their indices. A group holds whole runs of neighbours in lexicographic order, so
// candidates that start alike stay together. Runs are taken one after the other, so there are as
// few groups as that allows: one if all candidates fit.
std::vector<std::vector<std::size_t>> split_by_prefix(std::span<const Widths> candidates,
                                                      std::int64_t widest);

// Forward FLOPs per position of one step of a layer: the widest child of each parent, and what its
// siblings do for themselves.
double flops_of(const Children& children, std::size_t layer, const ForwardFlops& flops);

// Forward FLOPs per position of carrying out a plan.
struct PlanCost {
  // This plan: the embedding, the widest child of each parent, what its siblings do for themselves,
  // and a readout per leaf.
  double shared = 0;
  double one_by_one = 0;  // every candidate alone
  double embedding = 0;   // once in the plan, once per candidate one by one
  double readout = 0;     // the head's product: in both, once per leaf or candidate
  double gain() const { return one_by_one / shared; }
};
PlanCost cost_of(const PrefixTree& plan, const NestedModel& model, std::int64_t context,
                 double scored = 1);

}  // namespace mnm
