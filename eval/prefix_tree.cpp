#include "eval/prefix_tree.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "model/error.h"

namespace mnm {

namespace {

std::vector<std::size_t> lexicographic(std::span<const Widths> candidates) {
  std::vector<std::size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return candidates[a] < candidates[b]; });
  return order;
}

}  // namespace

PrefixTree make_prefix_tree(std::span<const Widths> candidates) {
  PrefixTree plan;
  if (candidates.empty()) return plan;
  const std::size_t layers = candidates.front().size();
  for (const Widths& widths : candidates) {
    if (widths.size() == layers && layers > 0) continue;
    fail_usage("cannot plan candidates of {} and of {} layers together", layers, widths.size());
  }

  // In lexicographic order each prefix is one run, runs of a parent are adjacent, and siblings
  // ascend: the levels are read off the places where neighbours first differ.
  const std::vector<std::size_t> order = lexicographic(candidates);
  if (candidates.size() > std::numeric_limits<std::int32_t>::max()) {
    fail_usage("cannot plan {} candidates at once, at most 2^31 - 1 are possible",
               candidates.size());
  }
  plan.levels.resize(layers);
  plan.leaf.resize(candidates.size());
  const auto last = [&](std::size_t level) {
    return static_cast<std::int32_t>(plan.levels[level].size()) - 1;
  };
  const Widths* previous = nullptr;
  for (const std::size_t i : order) {
    const Widths& widths = candidates[i];
    std::size_t level = 0;
    if (previous) {
      level = static_cast<std::size_t>(
          std::mismatch(widths.begin(), widths.end(), previous->begin()).first - widths.begin());
    }
    for (; level < layers; ++level) {
      plan.levels[level].push_back({level == 0 ? 0 : last(level - 1), widths[level]});
    }
    plan.leaf[i] = last(layers - 1);
    previous = &widths;
  }
  return plan;
}

std::vector<std::vector<std::size_t>> split_by_prefix(std::span<const Widths> candidates,
                                                      std::int64_t widest) {
  // The last level is the widest: every node of another has a child there.
  std::vector<std::vector<std::size_t>> groups;
  std::int64_t leaves = 0;
  const Widths* previous = nullptr;
  for (const std::size_t i : lexicographic(candidates)) {
    const bool same = previous && *previous == candidates[i];
    if (!same && (groups.empty() || ++leaves > widest)) {
      groups.emplace_back();
      leaves = 1;
    }
    groups.back().push_back(i);
    previous = &candidates[i];
  }
  for (std::vector<std::size_t>& group : groups) std::ranges::sort(group);
  return groups;
}

PlanCost cost_of(const PrefixTree& plan, const NestedModel& model, std::int64_t context,
                 double scored) {
  PlanCost cost;
  if (plan.levels.empty()) return cost;
  const ForwardFlops flops(model, context, scored);

  // Candidates below each node, from the leaves up: one by one, a node is computed once for each.
  std::vector<double> below(plan.levels.back().size(), 0.0);
  for (const std::int32_t leaf : plan.leaf) below[static_cast<std::size_t>(leaf)] += 1;
  cost.readout = flops.readout() * static_cast<double>(below.size());
  cost.one_by_one = flops.readout() * static_cast<double>(plan.leaf.size());
  cost.shared = cost.readout;
  for (std::size_t level = plan.levels.size(); level-- > 0;) {
    const std::vector<PlanNode>& nodes = plan.levels[level];
    std::vector<double> above(level == 0 ? 1 : plan.levels[level - 1].size(), 0.0);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const double one = flops.layer(level, nodes[i].width);
      cost.one_by_one += one * below[i];
      above[static_cast<std::size_t>(nodes[i].parent)] += below[i];
      // Siblings ascend: the last of a parent is its widest.
      const bool widest = i + 1 == nodes.size() || nodes[i + 1].parent != nodes[i].parent;
      cost.shared += flops.sibling(level, nodes[i].width, widest);
    }
    below = std::move(above);
  }
  return cost;
}

}  // namespace mnm
