// Carries out prefix trees with LibTorch. Compiled only into the engine.
//
// A plan is carried out batch by batch of sequences (fold/walk.h). On the CPU every thread takes
// batches of its own. If the weights are streamed, the plan is carried out layer by layer instead
// (fold/sweep.h). The limit decides how much memory is used, not the number of candidates. A walk
// computes nothing twice, unless the limit is so low that the children of one parent must be split.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "dataset/examples.h"
#include "eval/scores.h"
#include "fold/fold.h"
#include "model/nested_model.h"

namespace mnm {

// For a fold whose layers are not loaded. Sweeps load and unload them.
struct StreamLimits {
  std::uint64_t host = 0;       // bytes of host memory for states that do not fit the device
  std::filesystem::path spill;  // directory for states that do not fit the host either
  std::uint64_t disk = 0;       // bytes there
};

struct EvaluatorLimits {
  std::uint64_t memory = 1u << 30;  // bytes on the device for states and work space
  std::optional<StreamLimits> stream{};
  std::uint64_t product_bytes =
      0;  // that a product takes on the CPU beside its rows and its result
};

// Result i belongs to candidates[i]: values of every example; of a task, of every document
// (eval/task_scores.h). Duplicates are computed once. With options.one_by_one every
// candidate, a duplicate too, is a plan of its own. Where the device runs out of memory, what is
// left is done in half of the memory that was tried. Throws Stopped when `progress` says so. Error
// if not even one sequence of one candidate fits the limit.
std::vector<CandidateScores> score_candidates(Fold& fold, const NestedModel& model,
                                              const at::Device& device,
                                              std::span<const Widths> candidates,
                                              const Examples& dataset, const ScoreOptions& options,
                                              const EvaluatorLimits& limits,
                                              const ProgressSink& progress);

// What the heads read of examples with one output: [count, feature_size(model)]. Error if weights
// are streamed.
std::vector<float> encode_examples(Fold& fold, const NestedModel& model, const at::Device& device,
                                   const Widths& widths, const Examples& dataset,
                                   const EvaluatorLimits& limits, const ProgressSink& progress);

}  // namespace mnm
