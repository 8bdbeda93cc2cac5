// A plan in the other loop order: for each layer, for each batch of sequences, so that one pass
// over the weights scores every candidate. Compiled only into the engine.
//
// While a layer is stepped, the next one is loaded; no others are held. What a walk keeps on its
// stack, a sweep keeps of every batch: the states of one level, going over into the next.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "dataset/examples.h"
#include "eval/division.h"
#include "eval/prefix_tree.h"
#include "eval/scores.h"
#include "fold/fold.h"
#include "fold/level_states.h"
#include "fold/meter.h"

namespace mnm {

struct SweepInputs {
  Fold& fold;  // holds no layer, before and after
  const PrefixTree& plan;
  const ForwardFlops& flops;
  const Division& division;
  const Examples& dataset;
  StateRoom& room;
  std::optional<std::int32_t> reference;  // the leaf of the full model, where it is to be compared
  std::span<const MetricRow> metrics;     // that are measured
};

// Scores of the plan's candidates; results.size() may be less, then the last ones are left out. The
// scores' vectors have their sizes already.
void sweep(const SweepInputs& inputs, Meter& meter, std::span<CandidateScores> results);

}  // namespace mnm
