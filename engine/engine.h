// The one door to LibTorch. The code that scores, trains or generates stands behind this interface,
// in a shared library that is opened on first use (libmnm_engine_cpu.so, libmnm_engine_cuda.so). So
// everything else starts in milliseconds, and runs where there is no LibTorch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "engine/sequences.h"
#include "eval/channel_statistics.h"
#include "eval/latency.h"
#include "eval/scores.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

class FeatureDatabase;  // dataset/feature_database.h

// One model's weights, loaded on a device.
class ModelSession {
 public:
  virtual ~ModelSession() = default;

  // Scores candidates on every example of the dataset; result i belongs to candidates[i].
  virtual std::vector<CandidateScores> score(std::span<const Widths> candidates,
                                             const Examples& dataset, const ScoreOptions& options,
                                             const ProgressSink& progress) = 0;

  // Runs the full model over the dataset, layer by layer, and gives the statistics of each layer's
  // inner channels to `sink`. Weights that are streamed are read once; CalibrationOptions::saliency
  // needs them all. Error if the family does not show its channels.
  virtual void calibrate(const Examples& dataset, const CalibrationOptions& options,
                         const StatisticsSink& sink, const ProgressSink& progress) = 0;

  // A note to the user that says that the weights are streamed, and why. Empty if they are not.
  virtual std::string streaming() const = 0;

  // What the head reads of each example, f32 [count, feature_size], by the submodel. Examples have
  // one output.
  virtual std::vector<float> features(const Widths& widths, const Examples& dataset,
                                      const ProgressSink& progress) = 0;

  // f32 logits of every output of these examples, one example after the other: [examples * outputs
  // * vocab], row-major.
  virtual std::vector<float> logits(const Widths& widths, const ExampleInputs& inputs) = 0;

  // Sequences that grow side by side at any widths. It does not outlive the session. Error if the
  // model does not write tokens one after the other.
  virtual std::unique_ptr<Sequences> sequences() = 0;
  // Times passes of any submodel over the workload, for measure_latency. It does not outlive the
  // session.
  virtual std::unique_ptr<PassTimer> timer(const Workload& workload) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual std::string version() const = 0;  // "LibTorch 2.11.0, CPU AVX2, MKL"
  // "cpu, 4 threads, AVX2", "cuda, NVIDIA H200": what a session with these options measures on.
  virtual std::string device_name(const DeviceOptions& options) const = 0;
  // Loads a model. Both arguments outlive the session. Error if the device is not there or is too
  // small.
  virtual std::unique_ptr<ModelSession> load(const NestedModel& model, const Checkpoint& checkpoint,
                                             const DeviceOptions& options) = 0;
  // Trains until settings.steps. Resumes from settings.directory if it holds a checkpoint.
  virtual void train(const NestedModel& model, const TrainSettings& settings,
                     const DeviceOptions& options, const TrainSink& sink) = 0;
  // The nearest items of each query, [queries, database.depth()], the nearest first; -1 for a query
  // that is no number (fold/nearest.h). queries: [n, database.dimension()].
  virtual std::vector<std::int32_t> nearest(const FeatureDatabase& database,
                                            std::span<const float> queries,
                                            const DeviceOptions& options) = 0;
  // FLOP/s of an n x n x n product in the given dtype: the median of several, after a warm-up.
  virtual double matmul_rate(std::int64_t n, const DeviceOptions& options) = 0;
  // Bytes/s of reading the same `bytes` of memory again and again, on all threads: the best of
  // several rounds. If so many bytes fit the caches, they come from there. More than a gigabyte
  // counts as one.
  virtual double read_rate(std::uint64_t bytes, const DeviceOptions& options) = 0;
};

// The engine for "cpu" or "cuda...". It is opened once, from the directories of
// plugin_directories() (base/plugin.h). Error says which library was looked for in which places,
// and what the loader said.
Engine& open_engine(const std::string& device);

}  // namespace mnm
