#include "eval/evaluator.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "eval/meter.h"
#include "eval/shared_plan.h"
#include "eval/tiling.h"
#include "eval/walk.h"
#include "model/error.h"

namespace mnm {
namespace {

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device) {
  const auto size = static_cast<std::int64_t>(values.size());
  return at::from_blob(const_cast<std::int64_t*>(values.data()), {size}, at::kLong)
      .to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

// How a plan's work is divided. On the CPU each thread walks batches of its own, alone: operators
// that fork and join at every layer wait for the slowest thread at every layer, which on a busy
// machine took ten times as long. With fewer sequences than threads, all threads share one walk.
struct Division {
  Tiling tiling;
  int workers = 1;
  std::int64_t batches = 1;
};

Division divide(const SharedPlan& plan, const NestedModel& model, TilingOptions options,
                int threads) {
  const std::uint64_t memory = options.memory;
  const std::int64_t sequences = options.sequences;
  Division division;
  division.workers = sequences >= threads ? threads : 1;
  for (;; division.workers /= 2) {
    const int workers = division.workers;
    options.memory = memory / static_cast<std::uint64_t>(workers);
    options.sequences = (sequences + workers - 1) / workers;
    if (workers == 1 && threads > 1) options.rows = std::max<std::int64_t>(1024, 512 * threads);
    try {
      division.tiling = tile(plan, model, options);
      break;
    } catch (const Error&) {  // the memory is enough for fewer walks at once, if for any
      if (workers == 1) throw;
    }
  }
  // As many batches as the tiling's size makes, the same number for every worker, all of nearly the
  // same size.
  const std::int64_t least =
      (sequences + division.tiling.sequences - 1) / division.tiling.sequences;
  const std::int64_t rounds = (least + division.workers - 1) / division.workers;
  division.batches = std::min(sequences, rounds * division.workers);
  return division;
}

// Runs `work` on `workers` threads, this one among them, and waits for all. Where one fails it
// calls `stop`, which must make the others end, and throws what that one threw. With several,
// operators inside use one thread each. (Not an OpenMP region: in one, MKL opens another for each
// product, and where there are fewer cores free than threads, its waiting took ten times the work
// itself.)
template <typename Work, typename Stop>
void run_workers(int workers, const Work& work, const Stop& stop) {
  if (workers == 1) return work();
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    const at::NoGradGuard no_grad;  // thread-local
    try {
      at::set_num_threads(1);  // OpenMP's is thread-local, MKL's is everyone's
      work();
    } catch (...) {
      stop();  // the others' results are of no use any more
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  struct Restore {
    int threads = at::get_num_threads();
    ~Restore() { at::set_num_threads(threads); }
  } const restore;
  {
    std::vector<std::jthread> others;
    try {
      for (int i = 1; i < workers; ++i) others.emplace_back(run);
    } catch (const std::system_error&) {  // no more threads to be had: those there are do the work
    }
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

void score_plan(Fold& fold, const NestedModel& model, const at::Device& device,
                const SharedPlan& plan, const Dataset& dataset, const ScoreOptions& options,
                const EvaluatorLimits& limits, const ForwardFlops& flops, Meter& meter,
                std::span<CandidateScores> results) {
  // A state's size is the family's affair: one token's embedding tells it.
  std::uint64_t state_bytes = 0, element_bytes = 0;
  for (const at::Tensor& tensor : fold.embed(upload({0}, device).view({1, 1})).tensors) {
    state_bytes += tensor.nbytes();
    element_bytes = std::max<std::uint64_t>(element_bytes, tensor.element_size());
  }
  const Division division = divide(plan, model,
                                   {.context = dataset.context,
                                    .sequences = dataset.sequences,
                                    .rows = device.is_cpu() ? 1024 : 32768,
                                    .logit_bytes = device.is_cpu() ? 1u << 20 : 1u << 28,
                                    .element_bytes = element_bytes,
                                    .state_bytes = state_bytes,
                                    .memory = limits.memory,
                                    .reference = options.consistency},
                                   device.is_cpu() ? at::get_num_threads() : 1);
  for (CandidateScores& scores : results) {
    const auto size = static_cast<std::size_t>(dataset.sequences);
    scores.loss.resize(size);
    if (options.consistency) scores.kl.resize(size), scores.agreement.resize(size);
  }

  const Widths full = model.space.full();
  const auto run_batch = [&](Walk& walk, std::int64_t begin, std::int64_t count) {
    std::vector<std::int64_t> input, target;
    dataset.batch(begin, count, input, target);
    const at::Tensor means = walk.run(upload(input, device).view({count, dataset.context}),
                                      upload(target, device).view({count, dataset.context}),
                                      options.consistency ? &full : nullptr)
                                 .to(at::kCPU)
                                 .contiguous();
    const float* const values = means.const_data_ptr<float>();
    const std::int64_t metrics = means.size(1);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const float* from = values + plan.leaf[i] * metrics * count;
      for (std::vector<float>* to : {&results[i].loss, &results[i].kl, &results[i].agreement}) {
        if (to->empty()) continue;
        std::copy_n(from, count, to->begin() + begin);
        from += count;
      }
    }
  };
  std::atomic<std::int64_t> next = 0;  // who is done first takes more
  const auto work = [&] {
    Walk walk(fold, plan, division.tiling, flops, meter);
    for (std::int64_t b = next++; b < division.batches; b = next++) {
      const std::int64_t begin = dataset.sequences * b / division.batches;
      run_batch(walk, begin, dataset.sequences * (b + 1) / division.batches - begin);
    }
  };
  run_workers(division.workers, work, [&] { next = division.batches; });
}

}  // namespace

std::vector<CandidateScores> score_candidates(Fold& fold, const NestedModel& model,
                                              const at::Device& device,
                                              std::span<const Widths> candidates,
                                              const Dataset& dataset, const ScoreOptions& options,
                                              const EvaluatorLimits& limits,
                                              const ProgressSink& progress) {
  const at::NoGradGuard no_grad;
  std::vector<CandidateScores> results(candidates.size());
  if (candidates.empty()) return results;
  const ForwardFlops flops(model, dataset.context);

  // Plans of all candidates, or of each alone.
  const std::size_t group = options.one_by_one ? 1 : candidates.size();
  double total = 0;
  const SharedPlan whole = plan_shared(candidates);
  const PlanCost cost = cost_of(whole, model, dataset.context);
  total += options.one_by_one ? cost.one_by_one : cost.shared;
  if (options.consistency) {
    const std::vector<Widths> full = {model.space.full()};
    total += cost_of(plan_shared(full), model, dataset.context).shared *
             static_cast<double>(candidates.size() / group);
  }
  Meter meter(progress, total * static_cast<double>(dataset.sequences * dataset.context));
  for (std::size_t i = 0; i < candidates.size(); i += group) {
    const SharedPlan plan = options.one_by_one ? plan_shared(candidates.subspan(i, 1)) : whole;
    score_plan(fold, model, device, plan, dataset, options, limits, flops, meter,
               std::span(results).subspan(i, group));
  }
  meter.finish();
  return results;
}

}  // namespace mnm
