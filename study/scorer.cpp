#include "study/scorer.h"

#include <cmath>

#include "cluster/partition.h"
#include "eval/statistics.h"
#include "model/error.h"
#include "model/version.h"
#include "study/score_job.h"

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

Scorer::Scorer(const OpenedModel& opened, const DeviceOptions& device, const ScoreOptions& options,
               Ranks* ranks, Say say)
    : opened_(opened), device_(device), options_(options), ranks_(ranks), say_(std::move(say)) {
  if (!ranks_) return;
  device_ = ranks_->device_of(device);
  fingerprint_ = opened_.checkpoint.fingerprint();
}

ModelSession& Scorer::session() {
  load();
  return *session_;
}

void Scorer::load() {
  if (session_) return;
  session_ = open_engine(device_.device).load(opened_.model, opened_.checkpoint, device_);
  if (const std::string text = session_->streaming(); !text.empty() && say_) say_(text);
}

std::vector<Record> Scorer::score(std::span<const Widths> candidates, const Dataset& data,
                                  const ProgressSink& progress,
                                  const std::function<void(std::span<const Record>)>& keep) {
  const std::vector<CandidateScores> scores =
      ranks_ ? share(candidates, data, progress, keep)
             : session().score(candidates, data, options_, progress);
  const CostTable costs(opened_.model, basis_of(opened_.model, data));
  std::vector<Record> records;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    records.push_back(record_of(candidates[i], scores[i], costs.of(candidates[i]), device_.dtype));
  }
  return records;
}

std::string Scorer::perform(const std::string& job, std::span<const Dataset* const> datasets,
                            const std::function<bool(double)>& sink) {
  const ScoreJob wanted = parse_score_job(job, opened_.model.layers());
  if (wanted.build != build_text() || wanted.model != fingerprint_) {
    fail("rank 0 runs {} on model {}, this rank {} on {}: all ranks need the same", wanted.build,
         wanted.model, build_text(), fingerprint_);
  }
  for (const Dataset* data : datasets) {
    if (data->fingerprint != wanted.data) continue;
    return scores_bytes(session().score(
        wanted.candidates, *data, options_,
        [&](const Progress& progress) { return sink(progress.done / progress.total); }));
  }
  fail("rank 0 scores on tokens that this rank's token files do not hold: all ranks need the same");
}

std::vector<CandidateScores> Scorer::share(
    std::span<const Widths> candidates, const Dataset& data, const ProgressSink& progress,
    const std::function<void(std::span<const Record>)>& keep) {
  std::vector<Part> parts;
  if (options_.one_by_one) {
    for (std::size_t i = 0; i < candidates.size(); ++i) parts.push_back({{i}, 1});
  } else {
    parts = partition(candidates, opened_.model, data.context, data.share(), ranks_->size());
  }
  std::vector<Task> tasks;
  for (const Part& part : parts) {
    ScoreJob job{build_text(), fingerprint_, data.fingerprint, {}};
    for (const std::size_t i : part.indices) job.candidates.push_back(candidates[i]);
    tasks.push_back({to_text(job), part.flops});
  }
  const CostTable costs(opened_.model, basis_of(opened_.model, data));
  std::vector<CandidateScores> scores(candidates.size());
  const auto take = [&](std::size_t task, const std::string& bytes) {
    std::vector<CandidateScores> got =
        parse_scores(bytes, parts[task].indices.size(), static_cast<std::size_t>(data.sequences),
                     options_.consistency);
    std::vector<Record> records;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::size_t index = parts[task].indices[i];
      records.push_back(
          record_of(candidates[index], got[i], costs.of(candidates[index]), device_.dtype));
      scores[index] = std::move(got[i]);
    }
    if (keep) keep(records);
  };
  const Dataset* const only = &data;
  const bool done = ranks_->coordinator().run(
      tasks,
      [&](const std::string& job, const ShareSink& sink) {
        return perform(job, {&only, 1}, sink);
      },
      take,
      [&](double share) {
        return progress({share, 1});
      });
  if (!done) throw Interrupted();
  return scores;
}

void Scorer::serve(std::span<const Dataset* const> datasets) {
  mnm::serve(
      ranks_->post(),
      [&](const std::string& job, const ShareSink& sink) { return perform(job, datasets, sink); },
      ranks_->patience_with_the_first());
}

void require_device(const DeviceOptions& device) {
  if (device.device != "cpu") open_engine(device.device).device_name(device);
}

std::string Scorer::device_name() { return open_engine(device_.device).device_name(device_); }

}  // namespace mnm
