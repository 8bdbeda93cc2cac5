#include "fold/evaluator.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "dataset/task_examples.h"
#include "eval/division.h"
#include "eval/prefix_tree.h"
#include "eval/task_scores.h"
#include "fold/batch.h"
#include "fold/device_error.h"
#include "fold/layer_step.h"
#include "fold/nearest.h"
#include "fold/sequence_queue.h"
#include "fold/sweep.h"
#include "fold/walk.h"
#include "fold/workers.h"
#include "kernels/cuda/sum_product.h"
#include "model/feature_size.h"

namespace mnm {
namespace {

// A readout product on a device: 8,192 words by, as f32, 2,048 rows. In bf16 that is 32 MiB, which
// stay in an H100's second-level cache until they are read. On the CPU 2,048 words by 1,024 rows.
constexpr std::int64_t kDeviceWords = 8192, kHostWords = 2048;
constexpr std::uint64_t kDeviceLogits = 1u << 26, kHostLogits = 1u << 20;
// Products of ours and of LibTorch each have a work space, LibTorch's of up to as much.
constexpr std::uint64_t kDeviceProducts = 2 * kSumProductWork;
constexpr std::int64_t kQueries = 2048;  // that are searched for at once

// The metrics that a readout measures: all, but for those of databases of the submodels' own.
std::vector<MetricRow> readout_metrics(const ScoreOptions& options) {
  std::vector<MetricRow> measured = options.measured();
  if (!options.retrieval || !options.retrieval->encoded) {
    std::erase_if(measured, [](const MetricRow& row) { return row.needs_database; });
  }
  return measured;
}

// Candidates that one plan holds, and where their results go.
struct Group {
  std::vector<std::size_t> indices;
  PrefixTree plan;                        // of those, then of the reference if it is a leaf
  std::optional<std::int32_t> reference;  // its leaf
};

class Evaluation {
 public:
  Evaluation(Fold& fold, const NestedModel& model, const at::Device& device,
             const Examples& dataset, const ScoreOptions& options, const EvaluatorLimits& limits)
      : fold_(fold),
        model_(model),
        device_(device),
        dataset_(dataset),
        options_(options),
        limits_(limits),
        measured_(readout_metrics(options)),
        flops_(model, dataset.context, dataset.share()),
        compared_with_(options.reference.value_or(model.space.full())),
        element_bytes_(std::max<std::uint64_t>(fold.element_bytes(), model.flow_in_f32 ? 4 : 0)) {
    if (!options.retrieval || !options.retrieval->encoded) return;
    database_.emplace(*options.retrieval->encoded, device);
    if (device_.is_cpu()) return;  // where it lies already
    limits_.memory -= std::min<std::uint64_t>(database_->vectors.nbytes(), limits_.memory / 2);
  }

  std::vector<Group> groups(std::span<const Widths> candidates) const {
    std::vector<std::vector<std::size_t>> parts;
    if (options_.one_by_one) {
      for (std::size_t i = 0; i < candidates.size(); ++i) parts.push_back({i});
    } else {
      parts = split_by_prefix(candidates, widest_level());
    }
    std::vector<Group> groups;
    for (std::vector<std::size_t>& indices : parts) {
      std::vector<Widths> members;
      for (const std::size_t i : indices) members.push_back(candidates[i]);
      const bool with_reference = limits_.stream && options_.compares();
      if (with_reference) members.push_back(compared_with_);
      Group& group = groups.emplace_back();
      group.indices = std::move(indices);
      group.plan = make_prefix_tree(members);
      if (with_reference) group.reference = group.plan.leaf.back();
    }
    return groups;
  }

  double flops(const std::vector<Group>& groups) const {
    double total = 0;
    const std::vector<Widths> compared = {compared_with_};
    const PlanCost alone =
        cost_of(make_prefix_tree(compared), model_, dataset_.context, dataset_.share());
    const double reference = alone.shared - alone.embedding;  // which the plan's is
    for (const Group& group : groups) {
      total += cost_of(group.plan, model_, dataset_.context, dataset_.share()).shared;
      if (options_.compares() && !group.reference) total += reference;
    }
    return total * static_cast<double>(dataset_.count * dataset_.context);
  }

  std::vector<CandidateScores> score(const Group& group, Meter& meter) {
    std::vector<CandidateScores> results(group.indices.size());
    for (CandidateScores& scores : results) {
      for (const MetricRow& row : measured_) {
        scores[row.metric].resize(static_cast<std::size_t>(dataset_.values()));
      }
    }
    if (limits_.stream) {
      stream(group, meter, results);
    } else {
      walk(group, meter, results);
    }
    return results;
  }

 private:
  // Nodes per level whose states fit somewhere. Of a level and the one that it becomes, both are
  // kept for a while.
  std::int64_t widest_level() const {
    constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
    if (!limits_.stream) return kAll;
    const std::uint64_t room = limits_.memory / 2 + limits_.stream->host + limits_.stream->disk;
    const std::uint64_t node =
        2 * element_bytes_ *
        static_cast<std::uint64_t>(largest_state(model_) * dataset_.count * dataset_.context);
    return static_cast<std::int64_t>(std::max<std::uint64_t>(1, room / node));
  }

  Division division(const PrefixTree& plan, std::int64_t sequences, std::uint64_t memory) const {
    return divide(plan, model_,
                  {.context = dataset_.context,
                   .sequences = sequences,
                   .rows = device_.is_cpu() ? 1024 : 32768,
                   .logit_bytes = device_.is_cpu() ? kHostLogits : kDeviceLogits,
                   .words = device_.is_cpu() ? kHostWords : kDeviceWords,
                   .element_bytes = element_bytes_,
                   .given_per_token = fold_.given_per_token(),
                   .places_per_token = places_per_token(),
                   .product_bytes = device_.is_cpu() ? limits_.product_bytes : kDeviceProducts,
                   .memory = memory,
                   .reference = options_.compares()},
                  device_.is_cpu() ? at::get_num_threads() : 1);
  }

  std::int64_t places_per_token() const {
    const ExampleBranches& branches = dataset_.branches;
    std::int64_t most = 0;
    for (std::size_t b = 0; b < branches.shared.size(); ++b) {
      most = std::max(most, branches.shared[b] + branches.end[b] - branches.begin[b]);
    }
    const auto places = most * static_cast<std::int64_t>(branches.shared.size());
    return (places + dataset_.positions() - 1) / dataset_.positions();
  }

  RequestedMetrics requested() const {
    return {.acceptance = options_.wants(Metric::kAcceptance),
            .confidence = options_.wants(Metric::kConfidence),
            .accuracy5 = options_.wants(Metric::kAccuracy5)};
  }

  const PlacedDatabase* database() const { return database_ ? &*database_ : nullptr; }

  // In half of what the device had no memory for, from now on, or, where that is too little for
  // any tiling, in the least that there is. Nothing where no less will do, or memory was not it.
  std::optional<Division> after(const c10::Error& error, const PrefixTree& plan,
                                std::int64_t sequences, const Division& tried) {
    if (!out_of_memory(error)) return std::nullopt;
    wait_for(device_);  // cuBLAS does not start on a lost device either
    // What LibTorch holds in reserve the driver and cuBLAS cannot have.
    if (!device_.is_cpu()) c10::getDeviceAllocator(device_.type())->emptyCache();
    for (std::uint64_t less = tried.bytes() / 2; less > 0; less /= 2) {
      try {
        limits_.memory = tried.bytes() - less;
        return division(plan, sequences, limits_.memory);
      } catch (const Error&) {  // it needs more than that
      }
    }
    return std::nullopt;
  }

  void walk(const Group& group, Meter& meter, std::span<CandidateScores> results) {
    Division division = this->division(group.plan, dataset_.count, limits_.memory);
    SequenceQueue queue(dataset_.count, division.batches);
    for (;;) {
      try {
        return run_workers(
            division.workers,
            [&] { walk_batches(group.plan, division.tiling, queue, meter, results); },
            [&] { queue.stop(); });
      } catch (const c10::Error& error) {
        const std::optional<Division> less = after(error, group.plan, queue.left(), division);
        if (!less) throw;
        division = *less;
      }
      queue.restart(division.tiling.sequences);
    }
  }

  // What one worker does: batches, until there are none. One that does not fit is put back.
  void walk_batches(const PrefixTree& plan, const Tiling& tiling, SequenceQueue& queue,
                    Meter& meter, std::span<CandidateScores> results) const {
    Walk walk(fold_, plan, tiling, flops_, meter);
    while (const std::optional<SequenceRange> range = queue.take()) {
      try {
        run_batch(walk, plan, *range, results);
      } catch (const c10::Error& error) {
        if (out_of_memory(error)) {
          walk.take_back();
          queue.put_back(*range);
        }
        throw;
      }
    }
  }

  void run_batch(Walk& walk, const PrefixTree& plan, const SequenceRange& range,
                 std::span<CandidateScores> results) const {
    const Batch batch = batch_of(dataset_, range.begin, range.size(), device_);
    const std::int64_t first = dataset_.first_value(range.begin), count = batch.values();
    const Widths* const reference = options_.compares() ? &compared_with_ : nullptr;
    const at::Tensor means =
        walk.run(batch, reference, requested(), database()).to(at::kCPU).contiguous();
    const float* const values = means.const_data_ptr<float>();
    const std::int64_t metrics = means.size(1);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const float* from = values + plan.leaf[i] * metrics * count;
      for (const MetricRow& row : measured_) {
        std::copy_n(from, count, results[i][row.metric].begin() + first);
        from += count;
      }
    }
  }

  void stream(const Group& group, Meter& meter, std::span<CandidateScores> results) {
    const double before = meter.done();
    Division division = roomy_division(group.plan);
    for (;;) {
      StateRoom room(device_, limits_.memory - division.bytes(), limits_.stream->host,
                     limits_.stream->spill);
      try {
        return sweep({fold_, group.plan, flops_, division, dataset_, room, group.reference,
                      measured_, requested(), database()},
                     meter, results);
      } catch (const c10::Error& error) {
        const std::optional<Division> less = after(error, group.plan, dataset_.count, division);
        if (!less) throw;
        division = *less;
      }
      meter.go_back(before);
    }
  }

  // Half of the memory is for states, unless one step needs more.
  Division roomy_division(const PrefixTree& plan) const {
    try {
      return division(plan, dataset_.count, limits_.memory / 2);
    } catch (const Error&) {
      return division(plan, dataset_.count, limits_.memory);
    }
  }

  Fold& fold_;
  const NestedModel& model_;
  const at::Device device_;
  const Examples& dataset_;
  const ScoreOptions& options_;
  EvaluatorLimits limits_;
  const std::vector<MetricRow> measured_;   // by readouts
  std::optional<PlacedDatabase> database_;  // that all candidates' queries are searched in
  ForwardFlops flops_;
  Widths compared_with_;
  std::uint64_t element_bytes_ = 0;
};

}  // namespace

namespace {

// Results, in the order of the candidates, of one set of examples.
std::vector<CandidateScores> score_groups(Evaluation& evaluation, const std::vector<Group>& groups,
                                          std::size_t candidates, Meter& meter) {
  std::vector<CandidateScores> results(candidates);
  for (const Group& group : groups) {
    std::vector<CandidateScores> scores = evaluation.score(group, meter);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      results[group.indices[i]] = std::move(scores[i]);
    }
  }
  return results;
}

// What the heads read of examples, submodel by submodel.
class Encoder {
 public:
  Encoder(Fold& fold, const NestedModel& model, const at::Device& device,
          const EvaluatorLimits& limits)
      : fold_(fold), model_(model), device_(device), size_(feature_size(model)) {
    if (limits.stream) fail("cannot encode examples while weights are streamed; allow more memory");
  }

  std::int64_t size() const { return size_; }  // numbers of a vector

  // [count, size()]. The meter counts `each` for an example.
  std::vector<float> encode(const Widths& widths, const Examples& dataset, Meter& meter,
                            double each) const {
    std::vector<float> vectors(static_cast<std::size_t>(dataset.count * size_));
    const std::int64_t rows = device_.is_cpu() ? 1024 : 32768;  // of a batch
    const std::int64_t together = std::max<std::int64_t>(1, rows / dataset.context);
    SequenceQueue queue(dataset.count, (dataset.count + together - 1) / together);
    const auto work = [&] {
      while (const std::optional<SequenceRange> range = queue.take()) {
        const Batch batch = batch_of(dataset, range->begin, range->size(), device_);
        const at::Tensor features = fold_.readout(step_layers(fold_, fold_.embed(batch), widths))
                                        .to(at::kCPU, at::kFloat)
                                        .contiguous();
        std::copy_n(features.const_data_ptr<float>(), range->size() * size_,
                    vectors.begin() + range->begin * size_);
        meter.add(each * static_cast<double>(range->size()));
      }
    };
    run_workers(device_.is_cpu() ? at::get_num_threads() : 1, work, [&] { queue.stop(); });
    return vectors;
  }

  // FLOPs of an example.
  double flops(const Widths& widths, std::int64_t context) const {
    return cost_of(make_prefix_tree(std::vector<Widths>{widths}), model_, context).shared *
           static_cast<double>(context);
  }

 private:
  Fold& fold_;
  const NestedModel& model_;
  const at::Device device_;
  const std::int64_t size_;
};

// Retrieval in databases of the submodels' own. Each submodel encodes its database and the queries
// alone: the vectors of all submodels together may be larger than the memory.
class OwnDatabases {
 public:
  OwnDatabases(Encoder encoder, const at::Device& device, const Examples& queries,
               const Retrieval& retrieval)
      : encoder_(encoder), device_(device), queries_(queries), retrieval_(retrieval) {}

  double flops(std::span<const Widths> candidates) const {
    double sum = 0;
    for (const Widths& widths : candidates) {
      sum += encoder_.flops(widths, queries_.context) *
             static_cast<double>(queries_.count + retrieval_.database->count);
    }
    return sum;
  }

  // Sets the values of each candidate. Duplicates are computed once.
  void score(std::span<const Widths> candidates, Meter& meter,
             std::span<CandidateScores> results) const {
    std::map<Widths, std::size_t> first;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const auto [found, is_new] = first.emplace(candidates[i], i);
      if (is_new) {
        score(candidates[i], meter, results[i]);
        continue;
      }
      for (const MetricRow& row : metric_table()) {
        if (row.needs_database) results[i][row.metric] = results[found->second][row.metric];
      }
    }
  }

 private:
  void score(const Widths& widths, Meter& meter, CandidateScores& result) const {
    const double each = encoder_.flops(widths, queries_.context);
    std::vector<float> items = encoder_.encode(widths, *retrieval_.database, meter, each);
    if (!std::ranges::all_of(items, [](float x) { return std::isfinite(x); })) {
      meter.add(each * static_cast<double>(queries_.count));
      for (const MetricRow& row : metric_table()) {
        if (!row.needs_database) continue;
        result[row.metric].assign(static_cast<std::size_t>(queries_.count),
                                  std::numeric_limits<float>::quiet_NaN());
      }
      return;
    }
    const FeatureDatabase database = searchable(retrieval_, encoder_.size(), std::move(items));
    std::vector<float> asked = encoder_.encode(widths, queries_, meter, each);
    std::vector<std::int64_t> classes = classes_of(queries_);
    const std::int64_t n = queries_.count;
    const at::Tensor values = at::empty({kRetrievalMetrics, n}, at::kFloat);
    const PlacedDatabase placed(database, device_);
    const at::Tensor asked_all = at::from_blob(asked.data(), {n, encoder_.size()}, at::kFloat);
    const at::Tensor class_of = at::from_blob(classes.data(), {n}, at::kLong);
    for (std::int64_t begin = 0; begin < n; begin += kQueries) {
      const std::int64_t count = std::min(kQueries, n - begin);
      retrieval_into(placed, asked_all.narrow(0, begin, count).to(device_),
                     class_of.narrow(0, begin, count), values.narrow(1, begin, count));
      meter.add(0);  // so that a long search can be stopped
    }
    const float* from = values.const_data_ptr<float>();
    for (const MetricRow& row : metric_table()) {
      if (!row.needs_database) continue;
      result[row.metric].assign(from, from + n);
      from += n;
    }
  }

  const Encoder encoder_;
  const at::Device device_;
  const Examples& queries_;
  const Retrieval& retrieval_;
};

// Of a set of rows: puts the values of its answers where those of the whole task are.
void take_answers(const TaskRows& rows, const CandidateScores& from, std::int64_t answers,
                  std::span<const MetricRow> measured, CandidateScores& to) {
  for (const MetricRow& row : measured) {
    std::vector<float>& all = to[row.metric];
    all.resize(static_cast<std::size_t>(answers));
    for (std::size_t i = 0; i < rows.answers().size(); ++i) {
      all[static_cast<std::size_t>(rows.answers()[i])] = from[row.metric][i];
    }
  }
}

// A set of rows after the other, and documents from their answers. Streamed weights are read once
// for each set, so there is but one.
std::vector<CandidateScores> score_task(Fold& fold, const NestedModel& model,
                                        const at::Device& device,
                                        std::span<const Widths> candidates,
                                        const TaskExamples& data, const ScoreOptions& options,
                                        const EvaluatorLimits& limits,
                                        const ProgressSink& progress) {
  const auto sets = data.rows(limits.stream.has_value());
  std::vector<std::unique_ptr<Evaluation>> evaluations;
  std::vector<std::vector<Group>> groups;
  double flops = 0;
  for (const auto& set : sets) {
    evaluations.push_back(std::make_unique<Evaluation>(fold, model, device, *set, options, limits));
    groups.push_back(evaluations.back()->groups(candidates));
    flops += evaluations.back()->flops(groups.back());
  }
  Meter meter(progress, flops);
  std::vector<CandidateScores> sums(candidates.size());
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const auto values = score_groups(*evaluations[i], groups[i], candidates.size(), meter);
    for (std::size_t c = 0; c < values.size(); ++c) {
      take_answers(*sets[i], values[c], data.task->answers(), options.measured(), sums[c]);
    }
  }
  meter.finish();
  for (CandidateScores& of : sums) of = document_scores(*data.task, data.documents, of);
  return sums;
}

}  // namespace

std::vector<CandidateScores> score_candidates(Fold& fold, const NestedModel& model,
                                              const at::Device& device,
                                              std::span<const Widths> candidates,
                                              const Examples& dataset, const ScoreOptions& options,
                                              const EvaluatorLimits& limits,
                                              const ProgressSink& progress) {
  const at::NoGradGuard no_grad;
  if (candidates.empty()) return {};
  if (const auto* const task = dynamic_cast<const TaskExamples*>(&dataset)) {
    return score_task(fold, model, device, candidates, *task, options, limits, progress);
  }
  Evaluation evaluation(fold, model, device, dataset, options, limits);
  const std::vector<Group> groups = evaluation.groups(candidates);
  std::optional<OwnDatabases> databases;
  if (options.own_databases()) {
    databases.emplace(Encoder(fold, model, device, limits), device, dataset, *options.retrieval);
  }
  Meter meter(progress, evaluation.flops(groups) + (databases ? databases->flops(candidates) : 0));
  std::vector<CandidateScores> results = score_groups(evaluation, groups, candidates.size(), meter);
  if (databases) databases->score(candidates, meter, results);
  meter.finish();
  return results;
}

std::vector<float> encode_examples(Fold& fold, const NestedModel& model, const at::Device& device,
                                   const Widths& widths, const Examples& dataset,
                                   const EvaluatorLimits& limits, const ProgressSink& progress) {
  const at::NoGradGuard no_grad;
  Meter meter(progress, static_cast<double>(dataset.count));
  std::vector<float> vectors =
      Encoder(fold, model, device, limits).encode(widths, dataset, meter, 1);
  meter.finish();
  return vectors;
}

}  // namespace mnm
