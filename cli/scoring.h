// Scoring as commands see it: submodels in, records for the store out.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "db/store.h"
#include "engine/engine.h"
#include "eval/dataset.h"
#include "eval/scores.h"
#include "families/open_model.h"
#include "model/cost.h"

namespace mnm {

// What costs in the store are counted with: the checkpoint's own dtype, the data's context.
CostBasis basis_of(const NestedModel& model, const Dataset& data);

// Means and standard errors of per-sequence scores; a status where the loss is no number.
Record record_of(const Widths& widths, const CandidateScores& scores, const Cost& cost,
                 Dtype dtype);

// Opens the engine, and loads the weights, when first asked to.
class Scorer {
 public:
  // `opened` must outlive it.
  Scorer(const OpenedModel& opened, const DeviceOptions& device, const ScoreOptions& options);

  // One shared plan; record i belongs to candidates[i]. Their model, data and id are left 0.
  std::vector<Record> score(std::span<const Widths> candidates, const Dataset& data,
                            const ProgressSink& progress);
  void load();  // now, and not when first asked to score
  std::string device_name();
  Dtype dtype() const { return device_.dtype; }

 private:
  const OpenedModel& opened_;
  DeviceOptions device_;
  ScoreOptions options_;
  std::unique_ptr<ModelSession> session_;
};

}  // namespace mnm
