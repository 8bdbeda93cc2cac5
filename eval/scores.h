// The options of scoring, and its results. Plain data.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "dataset/retrieval.h"
#include "eval/metrics.h"
#include "model/dtype.h"
#include "model/widths.h"

namespace mnm {

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
  // For logits alone: weights are read as one pass comes to them and let go of behind it, embedding
  // and head in parts of kEndPiece (eval/memory.h). What is held is a layer, half of one while it
  // is loaded, and such a part.
  bool single_pass = false;
  // The number of this process among those on its machine. "cuda" is the GPU of that number,
  // counted round among the GPUs that the process sees. The launcher may let it see only its own.
  int local_rank = 0;
};

struct ScoreOptions {
  std::vector<Metric> metrics{};  // wanted beside loss and accuracy, which come with every pass
  bool one_by_one = false;        // no sharing: the shared plan is judged by it
  // What is searched, if metrics need it. The examples have its protocol.
  std::optional<Retrieval> retrieval{};
  // What KL, agreement and acceptance are taken against; nothing: the whole model. A store has only
  // scores against that, so scores against another submodel are not to be recorded.
  std::optional<Widths> reference{};

  std::vector<MetricRow> measured() const { return measured_for(metrics); }  // of tokens and images
  std::vector<MetricRow> measured(std::string_view kind) const {             // of such examples
    return measured_on(kind, metrics);
  }
  // Whether each submodel encodes a database of its own.
  bool own_databases() const {
    return retrieval && retrieval->encoder == DatabaseEncoder::kSubmodel;
  }
  bool wants(Metric metric) const { return std::ranges::find(metrics, metric) != metrics.end(); }
  bool compares() const {  // with the full model, or with the reference
    return std::ranges::any_of(metrics, [](Metric metric) { return row_of(metric).needs_full; });
  }
};

// The scores of one candidate, per metric that was measured, per example: means over the example's
// targets. NaN where the model computes NaN.
using CandidateScores = PerMetric<std::vector<float>>;

}  // namespace mnm
