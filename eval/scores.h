// The options of scoring, and its results. Plain data.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/metrics.h"
#include "model/dtype.h"

namespace mnm {

// Bytes of the embedding or the head that are read at once if they are not held, by all threads
// together.
constexpr std::uint64_t kEndPiece = 64 << 20;

struct DeviceOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1"
  Dtype dtype = Dtype::kF32;   // of weights and arithmetic; losses are taken in f32
  int threads = 0;             // CPU threads; 0: one per core
  // Bytes on the device for weights, states and work space. 0: all weights if they leave half of
  // what is free, and a quarter of what is free for the rest.
  std::uint64_t memory = 0;
  // Reads the weights layer by layer in every pass. This is also done if they do not fit the
  // memory.
  bool stream = false;
  // For logits only. Weights are read when a pass comes to them and released behind it; embedding
  // and head are read in parts of kEndPiece. So only a layer, half of one while it is loaded, and
  // such a part are held.
  bool single_pass = false;
  // The number of this process among those on its machine. "cuda" is the GPU of that number,
  // counted round among the GPUs that the process sees. The launcher may let it see only its own.
  int local_rank = 0;
};

struct ScoreOptions {
  std::vector<Metric> metrics{};  // wanted beside loss and accuracy, which come with every pass
  bool one_by_one = false;        // no sharing: the shared plan is judged by it

  std::span<const MetricRow> measured() const { return measured_for(metrics); }
  bool compares() const { return measured().back().needs_full; }  // with the full model
};

// The scores of one candidate, per metric that was measured, per example: means over the example's
// targets. NaN where the model computes NaN.
using CandidateScores = PerMetric<std::vector<float>>;

struct Progress {
  double done = 0, total = 1;  // FLOPs of the plan
};
// Called from time to time. If it returns false, the call that scores throws Interrupted.
using ProgressSink = std::function<bool(const Progress&)>;

// Thrown when a sink asked to stop.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

}  // namespace mnm
