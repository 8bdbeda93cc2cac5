// The one door to LibTorch: what scores, trains or generates stands behind this interface, in a
// shared library opened on first use (libmnm_engine_cpu.so, libmnm_engine_cuda.so), so that
// everything else starts in milliseconds and runs where there is no Torch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "eval/latency.h"
#include "eval/scores.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"
#include "train/settings.h"

namespace mnm {

// One sequence that grows, under one submodel: what was fed before is kept as each layer keeps it.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // The sequence's next tokens, one or more, within the vocabulary. f32 logits at the last of them,
  // [vocab], valid until the next call. The same for one call as for several, but for rounding.
  virtual std::span<const float> feed(std::span<const std::int64_t> tokens) = 0;
};

// One model's weights, loaded on a device.
class ModelSession {
 public:
  virtual ~ModelSession() = default;

  // Scores candidates on every sequence of the dataset; result i belongs to candidates[i].
  virtual std::vector<CandidateScores> score(std::span<const Widths> candidates,
                                             const Examples& dataset, const ScoreOptions& options,
                                             const ProgressSink& progress) = 0;

  // Whether and why the weights are streamed, as a note to the user; empty where they are not.
  virtual std::string streaming() const = 0;

  // f32 logits at every position of one sequence: [tokens * vocab], row-major.
  virtual std::vector<float> logits(const Widths& widths, std::span<const std::int64_t> tokens) = 0;

  // At the start of a sequence. It does not outlive the session.
  virtual std::unique_ptr<Decoder> decoder(const Widths& widths) = 0;
  // Passes of any submodel over the workload, for measure_latency. Likewise.
  virtual std::unique_ptr<PassTimer> timer(const Workload& workload) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual std::string version() const = 0;  // "LibTorch 2.11.0, CPU AVX2, MKL"
  // "cpu, 4 threads, AVX2", "cuda, NVIDIA H200": what a session with these options measures on.
  virtual std::string device_name(const DeviceOptions& options) const = 0;
  // Both arguments outlive the session. Error where the device is not there or too small.
  virtual std::unique_ptr<ModelSession> load(const NestedModel& model, const Checkpoint& checkpoint,
                                             const DeviceOptions& options) = 0;
  // Trains until settings.steps, resuming from settings.directory where it holds a checkpoint.
  virtual void train(const NestedModel& model, const TrainSettings& settings,
                     const DeviceOptions& options, const TrainSink& sink) = 0;
  // FLOP/s of an n x n x n product in the given dtype: median of several, after a warm-up.
  virtual double matmul_rate(std::int64_t n, const DeviceOptions& options) = 0;
  // Bytes/s of reading the same `bytes` of memory over and over, on all threads: the best of
  // several. From the caches where so many fit; more than a gigabyte is taken for one.
  virtual double read_rate(std::uint64_t bytes, const DeviceOptions& options) = 0;
};

// The engine for "cpu" or "cuda...": opened once, found beside the program (and in ../lib). Error
// says which library was looked for where, and what the loader said.
Engine& open_engine(const std::string& device);

}  // namespace mnm
