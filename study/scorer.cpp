#include "study/scorer.h"

#include <cmath>

#include "base/error.h"
#include "base/version.h"
#include "cluster/partition.h"
#include "eval/standard_error.h"
#include "study/database_features.h"
#include "study/score_job.h"

namespace mnm {
namespace {

Score score_of(const Widths& widths, CandidateScores values, const Cost& cost) {
  Score score;
  score.widths = widths;
  score.cost = cost;
  score.samples = static_cast<std::int64_t>(values[Metric::kLoss].size());
  for (const MetricRow& row : metric_table()) {
    if (values[row.metric].empty()) continue;
    const Estimate estimate = row.estimate(values[row.metric]);
    score.metrics[row.metric] = Measured{estimate.value, estimate.standard_error};
  }
  score.per_example = std::move(values);
  return score;
}

}  // namespace

CostBasis basis_of(const NestedModel& model, const Examples& data, const CacheLoad& cache) {
  return {model.dtype, data.context, cache};
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

std::unique_ptr<PassTimer> Scorer::timer(const Workload& workload) {
  return session().timer(workload);
}

bool Scorer::streams() { return !session().streaming().empty(); }

void Scorer::encode(const ProgressSink& progress) {
  if (options_.own_databases() && streams()) {
    fail("cannot encode examples while weights are streamed; allow more memory");
  }
  if (!options_.retrieval || options_.own_databases() || options_.retrieval->encoded) return;
  const bool first = !ranks_ || ranks_->rank() == 0;
  options_.retrieval->encoded = std::make_shared<const FeatureDatabase>(
      encode_database(*options_.retrieval, opened_, session(), first, progress));
}

std::vector<CandidateScores> Scorer::measure(std::span<const Widths> candidates,
                                             const Examples& data, const ProgressSink& progress) {
  encode(progress);
  return session().score(candidates, data, options_, progress);
}

std::vector<Score> Scorer::score(std::span<const Widths> candidates, const Examples& data,
                                 const ProgressSink& progress, const Keep& keep) {
  require_metrics(options_.metrics, data.kind());
  require_database(options_.metrics, options_.retrieval.has_value());
  if (options_.retrieval && data.protocol != protocol_text(*options_.retrieval)) {
    fail("cannot score {} by a search for {}: its protocol is '{}'", data.name,
         protocol_text(*options_.retrieval), data.protocol);
  }
  std::vector<CandidateScores> values =
      ranks_ ? share(candidates, data, progress, keep) : measure(candidates, data, progress);
  const CostTable costs(opened_.model, basis_of(opened_.model, data));
  std::vector<Score> scores;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    scores.push_back(score_of(candidates[i], std::move(values[i]), costs.of(candidates[i])));
  }
  return scores;
}

std::string Scorer::perform(const std::string& job, std::span<const Examples* const> datasets,
                            const ProgressSink& progress) {
  const ScoreJob wanted = parse_score_job(job, opened_.model.layers());
  if (wanted.build != build_text() || wanted.model != fingerprint_) {
    fail("rank 0 runs {} on model {}, this rank {} on {}: all ranks need the same", wanted.build,
         wanted.model, build_text(), fingerprint_);
  }
  for (const Examples* data : datasets) {
    if (data->fingerprint != wanted.data) continue;
    return scores_bytes(measure(wanted.candidates, *data, progress));
  }
  fail("rank 0 scores on tokens that this rank's token files do not hold: all ranks need the same");
}

std::vector<CandidateScores> Scorer::share(std::span<const Widths> candidates, const Examples& data,
                                           const ProgressSink& progress, const Keep& keep) {
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
        parse_scores(bytes, parts[task].indices.size(), static_cast<std::size_t>(data.count),
                     options_.measured(data.kind()));
    std::vector<Score> done;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::size_t index = parts[task].indices[i];
      scores[index] = got[i];
      done.push_back(score_of(candidates[index], std::move(got[i]), costs.of(candidates[index])));
    }
    if (keep) keep(done);
  };
  const Examples* const only = &data;
  ranks_->coordinator().run(
      tasks,
      [&](const std::string& job, const ProgressSink& sink) {
        return perform(job, {&only, 1}, sink);
      },
      take, progress);
  return scores;
}

void Scorer::serve(std::span<const Examples* const> datasets) {
  mnm::serve(
      ranks_->post(),
      [&](const std::string& job, const ProgressSink& sink) {
        return perform(job, datasets, sink);
      },
      ranks_->patience_with_the_first());
}

void require_device(const DeviceOptions& device) {
  if (device.device != "cpu") open_engine(device.device).device_name(device);
}

std::string Scorer::device_name() { return open_engine(device_.device).device_name(device_); }

}  // namespace mnm
