// Scoring as commands see it: submodels in, scores for the store out.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataset/examples.h"
#include "db/store.h"
#include "engine/engine.h"
#include "eval/scores.h"
#include "families/open_model.h"
#include "model/cost.h"
#include "study/ranks.h"

namespace mnm {

// What costs in the store are counted with: the checkpoint's own dtype, the data's context.
CostBasis basis_of(const NestedModel& model, const Examples& data);

// Error where the device is not there: asked before anything is written for it.
void require_device(const DeviceOptions& device);

// Opens the engine, and loads the weights, when first asked to.
class Scorer {
 public:
  using Say = std::function<void(const std::string&)>;

  // `opened` and `ranks` must outlive it. ranks: the processes to share the work with, or nullptr.
  // say: is told, in a sentence, when weights are streamed because they do not fit the memory.
  Scorer(const OpenedModel& opened, const DeviceOptions& device, const ScoreOptions& options,
         Ranks* ranks = nullptr, Say say = {});

  using Keep = std::function<void(std::span<const Score>)>;

  // One shared plan; score i belongs to candidates[i]. Shared with other ranks it is several plans,
  // and `keep` is told of each one's scores as they come.
  std::vector<Score> score(std::span<const Widths> candidates, const Examples& data,
                           const ProgressSink& progress, const Keep& keep = {});

  // What every rank but the first does: scores on these datasets what the first one sends, until
  // that is done. The caller ignores signals meanwhile: a launcher's reaches all ranks, and the
  // first one decides. Error where it sends what this rank does not have.
  void serve(std::span<const Examples* const> datasets);

  void load();  // now, and not when first asked to score
  std::string device_name();
  Dtype dtype() const { return device_.dtype; }

 private:
  ModelSession& session();
  std::string perform(const std::string& job, std::span<const Examples* const> datasets,
                      const std::function<bool(double)>& sink);
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
