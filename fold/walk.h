// Carries one batch of examples through one plan. Compiled only into the engine.
//
// The tree is walked depth first in chunks of nodes. So the states that are alive at once are one
// chunk per level and never a whole level. The tiling decides how much memory is used, not the
// number of candidates. Nothing is computed twice, unless the tiling splits the children of one
// parent.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/progress.h"
#include "eval/prefix_tree.h"
#include "eval/tiling.h"
#include "fold/batch.h"
#include "fold/fold.h"
#include "fold/readout.h"

namespace mnm {

// A walk holds one batch at a time. Several walks may share one fold and one meter.
class Walk {
 public:
  // All references outlive the walk.
  Walk(Fold& fold, const PrefixTree& plan, const Tiling& tiling, const ForwardFlops& flops,
       Meter& meter);

  // Runs a batch. Returns the mean over the targets, per leaf, metric and example: f32 [leaves,
  // metrics, examples] on the fold's device, or the sums of runs. Metrics are those of a Readout.
  // `reference`: the full widths to compare with, or nullptr. `database`: what is searched, or
  // nullptr.
  at::Tensor run(const Batch& batch, const Widths* reference, RequestedMetrics requested,
                 const PlacedDatabase* database);

  // Tells the meter that the run that just failed will be done again.
  void take_back();

 private:
  void count(double flops_per_position);
  void descend(std::size_t level, const State& parents, std::int64_t first);
  void measure(const State& leaves, std::int64_t first);

  Fold& fold_;
  const PrefixTree& plan_;
  const Tiling& tiling_;
  const ForwardFlops& flops_;
  Meter& meter_;
  double counted_ = 0;  // of this run
  // Of this batch:
  std::int64_t examples_ = 0;
  Givens givens_;
  std::optional<Readout> readout_;
  at::Tensor means_;  // what run() returns
};

}  // namespace mnm
