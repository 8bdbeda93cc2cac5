// A plan carried out in the other loop order: for each layer, for each batch of sequences. So one
// pass over the weights scores every candidate. Compiled only into the engine.
//
// While a layer is stepped, the next one is loaded; no other layers are held. A walk keeps one path
// of states. A sweep keeps for every batch the states of one level, which become those of the next.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "base/progress.h"
#include "dataset/examples.h"
#include "eval/division.h"
#include "eval/prefix_tree.h"
#include "eval/scores.h"
#include "fold/fold.h"
#include "fold/level_states.h"
#include "fold/readout.h"

namespace mnm {

struct SweepInputs {
  Fold& fold;  // holds no layer, before and after
  const PrefixTree& plan;
  const ForwardFlops& flops;
  const Division& division;
  const Examples& dataset;
  StateRoom& room;
  std::optional<std::int32_t>
      reference;                       // the leaf of the full model, if leaves are compared with it
  std::span<const MetricRow> metrics;  // the metrics that are measured
  RequestedMetrics requested{};        // those of them that are on request
  const PlacedDatabase* database = nullptr;  // what is searched for those of retrieval
};

// Fills in the scores of the plan's candidates. If `results` has fewer entries, the last candidates
// are left out. The vectors of the scores already have their sizes.
void sweep(const SweepInputs& inputs, Meter& meter, std::span<CandidateScores> results);

}  // namespace mnm
