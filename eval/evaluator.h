// Carries out shared-prefix plans with LibTorch. Compiled only into the engine.
//
// A plan is carried out batch by batch of sequences (eval/walk.h); on the CPU every thread takes
// batches of its own. Nothing is computed twice, and memory is bounded by the limit, not by the
// number of candidates.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "eval/dataset.h"
#include "eval/fold.h"
#include "eval/scores.h"
#include "model/nested_model.h"

namespace mnm {

struct EvaluatorLimits {
  std::uint64_t memory = 1u << 30;  // bytes for states and work space
};

// Result i belongs to candidates[i]; duplicates are computed once. With options.one_by_one every
// candidate, a duplicate too, is a plan of its own. Throws Interrupted when `progress` says so;
// Error where not one sequence of one candidate fits the limit.
std::vector<CandidateScores> score_candidates(Fold& fold, const NestedModel& model,
                                              const at::Device& device,
                                              std::span<const Widths> candidates,
                                              const Dataset& dataset, const ScoreOptions& options,
                                              const EvaluatorLimits& limits,
                                              const ProgressSink& progress);

}  // namespace mnm
