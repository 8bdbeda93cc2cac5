#include "eval/prefix_tree.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "base/error.h"

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

std::span<const Width> Children::of(std::int64_t parent) const {
  return std::span(widths).subspan(
      static_cast<std::size_t>(begin_of(parent)),
      static_cast<std::size_t>(begin_of(parent + 1) - begin_of(parent)));
}

std::int64_t Children::most(std::int64_t parents) const {
  std::int64_t most = 0;
  for (std::int64_t begin = 0; begin < this->parents(); ++begin) {
    const std::int64_t end = begin + std::min(parents, this->parents() - begin);
    most = std::max(most, begin_of(end) - begin_of(begin));
  }
  return most;
}

Children Children::of(const TreeStep& step) const {
  Children part;
  for (std::int64_t parent = step.first; parent < step.last; ++parent) {
    const std::int64_t end = std::min(begin_of(parent + 1), step.end);
    for (std::int64_t node = std::max(begin_of(parent), step.begin); node < end; ++node) {
      part.add(parent - step.first, widths[static_cast<std::size_t>(node)]);
    }
  }
  return part;
}

void Children::add(std::int64_t parent, Width width) {
  while (parents() <= parent) first.push_back(static_cast<std::int32_t>(nodes()));
  widths.push_back(width);
  first.back() = static_cast<std::int32_t>(nodes());
}

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
  const auto last = [&](std::size_t level) { return plan.levels[level].nodes() - 1; };
  const Widths* previous = nullptr;
  for (const std::size_t i : order) {
    const Widths& widths = candidates[i];
    std::size_t level = 0;
    if (previous) {
      level = static_cast<std::size_t>(
          std::mismatch(widths.begin(), widths.end(), previous->begin()).first - widths.begin());
    }
    for (; level < layers; ++level) {
      plan.levels[level].add(level == 0 ? 0 : last(level - 1), widths[level]);
    }
    plan.leaf[i] = static_cast<std::int32_t>(last(layers - 1));
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

double flops_of(const Children& children, std::size_t layer, const ForwardFlops& flops) {
  double sum = 0;
  for (std::int64_t parent = 0; parent < children.parents(); ++parent) {
    const std::span<const Width> siblings = children.of(parent);
    for (const Width width : siblings.first(siblings.size() - 1)) {
      sum += flops.sibling(layer, width, /*widest=*/false);
    }
    sum += flops.sibling(layer, siblings.back(), /*widest=*/true);
  }
  return sum;
}

PlanCost cost_of(const PrefixTree& plan, const NestedModel& model, std::int64_t context,
                 double scored) {
  PlanCost cost;
  if (plan.levels.empty()) return cost;
  const ForwardFlops flops(model, context, scored);

  // Candidates below each node, from the leaves up: one by one, a node is computed once for each.
  std::vector<double> below(static_cast<std::size_t>(plan.levels.back().nodes()), 0.0);
  for (const std::int32_t leaf : plan.leaf) below[static_cast<std::size_t>(leaf)] += 1;
  cost.embedding = flops.embedding();
  cost.readout = flops.readout() * static_cast<double>(below.size());
  cost.one_by_one = (flops.embedding() + flops.readout()) * static_cast<double>(plan.leaf.size());
  cost.shared = cost.embedding + cost.readout;
  for (std::size_t level = plan.levels.size(); level-- > 0;) {
    const Children& nodes = plan.levels[level];
    cost.shared += flops_of(nodes, level, flops);
    std::vector<double> above;
    for (std::int64_t parent = 0; parent < nodes.parents(); ++parent) {
      auto node = static_cast<std::size_t>(nodes.begin_of(parent));
      above.push_back(0);
      for (const Width width : nodes.of(parent)) {
        cost.one_by_one += flops.layer(level, width) * below[node];
        above.back() += below[node++];
      }
    }
    below = std::move(above);
  }
  return cost;
}

}  // namespace mnm
