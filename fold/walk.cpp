#include "fold/walk.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

namespace mnm {
Walk::Walk(Fold& fold, const PrefixTree& plan, const Tiling& tiling, const ForwardFlops& flops,
           Meter& meter)
    : fold_(fold), plan_(plan), tiling_(tiling), flops_(flops), meter_(meter) {
  for (std::size_t level = 0; level < plan.levels.size(); ++level) {
    std::vector<std::int32_t>& first = first_child_.emplace_back();
    const std::vector<PlanNode>& nodes = plan.levels[level];
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (i == 0 || nodes[i].parent != nodes[i - 1].parent) {
        first.push_back(static_cast<std::int32_t>(i));
      }
    }
    first.push_back(static_cast<std::int32_t>(nodes.size()));
  }
}

at::Tensor Walk::run(const Batch& batch, const Widths* reference, const MetricRow& last) {
  counted_ = 0;
  sequences_ = batch.tokens.size(0);
  context_ = batch.tokens.size(1);
  readout_.emplace(fold_, tiling_.logits, batch, last.second_pass);
  const State root = fold_.embed(batch.tokens);
  if (reference) {
    State state = root;
    for (std::size_t l = 0; l < reference->size(); ++l) {
      const Child child = {0, (*reference)[l]};
      state = fold_.step(l, state, {&child, 1});
      count(flops_.layer(l, child.width));
    }
    readout_->set_reference(state);
    count(flops_.readout());
  }
  means_ = at::empty(
      {static_cast<std::int64_t>(plan_.levels.back().size()), readout_->metrics(), sequences_},
      batch.tokens.options().dtype(at::kFloat));
  descend(0, root, 0);
  return means_;
}

void Walk::count(double flops_per_token) {
  const double flops = flops_per_token * static_cast<double>(sequences_ * context_);
  meter_.add(flops);
  counted_ += flops;
}

void Walk::take_back() { meter_.add(-std::exchange(counted_, 0.0)); }

// Everything below `parents`, which are nodes first, first + 1, ... of their level.
void Walk::descend(std::size_t level, const State& parents, std::int64_t first) {
  const std::vector<std::int32_t>& first_child = first_child_[level];
  const auto child = [&](std::int64_t parent) {
    return static_cast<std::int64_t>(first_child[static_cast<std::size_t>(parent)]);
  };
  const std::int64_t end = first + parents.nodes();
  for (std::int64_t begin = first, next = 0; begin < end; begin = next) {
    next = begin + 1;
    while (next < end && next - begin < tiling_.parents &&
           child(next + 1) - child(begin) <= tiling_.children) {
      ++next;
    }
    const State chunk = parents.narrow(begin - first, next - begin);
    for (std::int64_t c = child(begin); c < child(next); c += tiling_.children) {
      step(level, chunk, begin, c, std::min(child(next), c + tiling_.children));
    }
  }
}

// Children [begin, end) of `level`, all of parents in the chunk, whose first is `first_parent`.
void Walk::step(std::size_t level, const State& chunk, std::int64_t first_parent,
                std::int64_t begin, std::int64_t end) {
  const std::span<const PlanNode> nodes =
      std::span(plan_.levels[level])
          .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  std::vector<Child> children;
  children.reserve(nodes.size());
  for (const PlanNode& node : nodes) {
    children.push_back({node.parent - static_cast<std::int32_t>(first_parent), node.width});
  }
  const State states = fold_.step(level, chunk, children);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const bool widest = i + 1 == nodes.size() || nodes[i + 1].parent != nodes[i].parent;
    count(flops_.sibling(level, nodes[i].width, widest));
  }
  if (level + 1 < plan_.levels.size()) {
    descend(level + 1, states, begin);
  } else {
    means_.narrow(0, begin, states.nodes()).copy_(readout_->measure(states));
    count(flops_.readout() * static_cast<double>(states.nodes()));
  }
}

}  // namespace mnm
