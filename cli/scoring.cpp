#include "cli/scoring.h"

#include <cmath>

#include "eval/statistics.h"

namespace mnm {
namespace {

Measured measured(std::span<const float> per_sequence) {
  const Estimate estimate = mean_of(per_sequence);
  return {estimate.value, estimate.standard_error};
}

}  // namespace

CostBasis basis_of(const NestedModel& model, const Dataset& data) {
  return {model.dtype, data.context};
}

Record record_of(const Widths& widths, const CandidateScores& scores, const Cost& cost,
                 Dtype dtype) {
  Record record;
  record.dtype = dtype;
  record.widths = widths;
  record.samples = static_cast<std::int64_t>(scores.loss.size());
  record.loss = measured(scores.loss);
  if (std::isnan(record.loss.value)) {
    record.status = "nan";
  } else if (std::isinf(record.loss.value)) {
    record.status = "inf";
  } else {
    if (!scores.kl.empty()) record.kl = measured(scores.kl);
    if (!scores.agreement.empty()) record.agreement = measured(scores.agreement);
  }
  record.cost = cost;
  record.losses = scores.loss;
  return record;
}

Scorer::Scorer(const OpenedModel& opened, const DeviceOptions& device, const ScoreOptions& options)
    : opened_(opened), device_(device), options_(options) {}

std::vector<Record> Scorer::score(std::span<const Widths> candidates, const Dataset& data,
                                  const ProgressSink& progress) {
  load();
  const std::vector<CandidateScores> scores = session_->score(candidates, data, options_, progress);
  const CostTable costs(opened_.model, basis_of(opened_.model, data));
  std::vector<Record> records;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    records.push_back(record_of(candidates[i], scores[i], costs.of(candidates[i]), device_.dtype));
  }
  return records;
}

void Scorer::load() {
  if (session_) return;
  session_ = open_engine(device_.device).load(opened_.model, opened_.checkpoint, device_);
}

std::string Scorer::device_name() { return open_engine(device_.device).device_name(device_); }

}  // namespace mnm
