// What scoring is asked, and what it answers. Plain data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/metrics.h"
#include "model/dtype.h"
#include "model/progress.h"

namespace mnm {

struct DeviceOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1"
  Dtype dtype = Dtype::kF32;   // of weights and arithmetic; losses are taken in f32
  int threads = 0;             // CPU threads; 0: one per core
  // Bytes on the device for weights, states and work space; 0: all weights if they leave half of
  // what is free, and a quarter of what is free for the rest.
  std::uint64_t memory = 0;
  // Weights are read layer by layer in every pass; also done where they do not fit the memory.
  bool stream = false;
  // For logits alone: weights are read as one pass comes to them and let go of behind it, embedding
  // and head in parts of kEndPiece (eval/memory.h). What is held is a layer, half of one while it
  // is loaded, and such a part.
  bool single_pass = false;
  // Of this process among those of its machine: "cuda" is the GPU of that number, counted round
  // among those that it sees, which may be one of its own.
  int local_rank = 0;
};

struct ScoreOptions {
  std::vector<Metric> metrics{};  // wanted beside loss and accuracy, which come with every pass
  bool one_by_one = false;        // no sharing: the judge of the shared plan

  std::span<const MetricRow> measured() const { return measured_for(metrics); }
  bool compares() const { return measured().back().needs_full; }  // with the full model
};

// Of one candidate, per metric that was measured, per example: means over its targets. NaN where
// the model computes NaN.
using CandidateScores = PerMetric<std::vector<float>>;

}  // namespace mnm
