#include "fold/walk.h"

#include <ATen/ops/empty.h>

#include <utility>

#include "fold/layer_step.h"

namespace mnm {
Walk::Walk(Fold& fold, const PrefixTree& plan, const Tiling& tiling, const ForwardFlops& flops,
           Meter& meter)
    : fold_(fold), plan_(plan), tiling_(tiling), flops_(flops), meter_(meter) {}

at::Tensor Walk::run(const Batch& batch, const Widths* reference, RequestedMetrics requested,
                     const PlacedDatabase* database) {
  counted_ = 0;
  examples_ = batch.examples();
  readout_.emplace(fold_, tiling_.logits, batch, requested, database);
  Embedded start = fold_.embed(batch);
  count(flops_.embedding());
  if (reference) {
    readout_->set_reference(step_layers(fold_, start, *reference));
    for (std::size_t l = 0; l < reference->size(); ++l) count(flops_.layer(l, (*reference)[l]));
    count(flops_.readout());
  }
  givens_ = std::move(start.givens);
  means_ = at::empty({plan_.levels.back().nodes(), readout_->metrics(), batch.values()},
                     batch.inputs.options().dtype(at::kFloat));
  descend(0, start.state, 0);
  return means_;
}

void Walk::count(double flops_per_position) {
  const double flops = flops_per_position * static_cast<double>(examples_ * flops_.context());
  meter_.add(flops);
  counted_ += flops;
}

void Walk::take_back() { meter_.add(-std::exchange(counted_, 0.0)); }

// Everything below `parents`, which are nodes first, first + 1, ... of the level above.
void Walk::descend(std::size_t level, const State& parents, std::int64_t first) {
  const Children& nodes = plan_.levels[level];
  for (const TreeStep& step : steps_of(nodes, first, first + parents.nodes(), tiling_)) {
    const State chunk = parents.narrow(step.first - first, step.parents());
    const Children children = nodes.of(step);
    const State states = step_layer(fold_, level, givens_, chunk, children);
    count(flops_of(children, level, flops_));
    if (level + 1 < plan_.levels.size()) {
      descend(level + 1, states, step.begin);
    } else {
      measure(states, step.begin);
    }
  }
}

void Walk::measure(const State& leaves, std::int64_t first) {
  means_.narrow(0, first, leaves.nodes()).copy_(readout_->measure(leaves));
  count(flops_.readout() * static_cast<double>(leaves.nodes()));
}

}  // namespace mnm
