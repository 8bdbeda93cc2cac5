// Scores submodels: widths in, scores for the store out.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "engine/engine.h"
#include "eval/latency.h"
#include "eval/scores.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "study/ranks.h"

namespace mnm {

// The settings that costs in the store are counted with: the checkpoint's own dtype, the data's
// context. What memory is counted with is no part of the store.
CostBasis basis_of(const NestedModel& model, const Examples& data, const CacheLoad& cache = {});

// Error if the device does not exist. Call it before anything is written that needs the device.
void require_device(const DeviceOptions& device);

// Opens the engine and loads the weights when they are needed for the first time.
class Scorer {
 public:
  using Say = std::function<void(const std::string&)>;

  // `opened` and `ranks` must outlive the scorer. `ranks`: the processes to share the work with, or
  // nullptr. `say` gets a sentence if weights are streamed because they do not fit the memory.
  Scorer(const OpenedModel& opened, const DeviceOptions& device, const ScoreOptions& options,
         Ranks* ranks = nullptr, Say say = {});

  using Keep = std::function<void(std::span<const Score>)>;

  // Scores the candidates by one shared plan; score i belongs to candidates[i]. If the work is
  // shared with other ranks, there are several plans, and `keep` gets the scores of each as they
  // come.
  std::vector<Score> score(std::span<const Widths> candidates, const Examples& data,
                           const ProgressSink& progress, const Keep& keep = {});

  // The work of every rank but the first: scores what the first rank sends, on these datasets,
  // until the first rank says stop. The caller ignores signals meanwhile, because a launcher sends
  // a signal to all ranks and the first rank decides. Error if the first rank sends what this rank
  // does not have.
  void serve(std::span<const Examples* const> datasets);

  // Times passes of any submodel on this device. It does not outlive the scorer. Error if the
  // weights are streamed.
  std::unique_ptr<PassTimer> timer(const Workload& workload);

  void load();     // loads the weights now
  bool streams();  // whether they do not fit the memory; loads what does
  // Encodes the database that is searched now, if there is one and the full model encodes it; else
  // this is done with the first scores. Error if each submodel encodes a database of its own, and
  // weights are streamed.
  void encode(const ProgressSink& progress);
  std::string device_name();
  Dtype dtype() const { return device_.dtype; }

 private:
  ModelSession& session();
  std::vector<CandidateScores> measure(std::span<const Widths> candidates, const Examples& data,
                                       const ProgressSink& progress);
  std::string perform(const std::string& job, std::span<const Examples* const> datasets,
                      const ProgressSink& progress);
  std::vector<CandidateScores> share(std::span<const Widths> candidates, const Examples& data,
                                     const ProgressSink& progress, const Keep& keep);

  const OpenedModel& opened_;
  DeviceOptions device_;
  ScoreOptions options_;
  Ranks* ranks_;
  Say say_;
  std::string fingerprint_;  // of the model, where there are ranks
  std::unique_ptr<ModelSession> session_;
};

}  // namespace mnm
