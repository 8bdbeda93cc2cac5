#include "eval/evaluator.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <chrono>

#include "eval/shared_plan.h"
#include "eval/tiling.h"
#include "kernels/token_loss.h"
#include "model/error.h"

namespace mnm {
namespace {

// What is measured of each target, in this order, in f32: loss, and with a reference KL and
// agreement.
constexpr std::int64_t kMetrics = 3;

// Calls the sink at most every 50 ms, with FLOPs done of the total.
class Meter {
 public:
  Meter(const ProgressSink& sink, double total) : sink_(sink), total_(total) {}

  void add(double flops) {
    done_ += flops;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ >= std::chrono::milliseconds(50)) report(now);
  }
  void finish() {
    done_ = total_;
    report(std::chrono::steady_clock::now());
  }

 private:
  void report(std::chrono::steady_clock::time_point now) {
    last_ = now;
    if (sink_ && !sink_({std::min(done_, total_), total_})) throw Interrupted();
  }

  const ProgressSink& sink_;
  double total_, done_ = 0;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

at::Tensor upload(const std::vector<std::int64_t>& values, const at::Device& device) {
  const auto size = static_cast<std::int64_t>(values.size());
  return at::from_blob(const_cast<std::int64_t*>(values.data()), {size}, at::kLong)
      .to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

// One batch of sequences through one plan.
class Walk {
 public:
  Walk(Fold& fold, const SharedPlan& plan, const Tiling& tiling, const ForwardFlops& flops,
       Meter& meter)
      : fold_(fold), plan_(plan), tiling_(tiling), flops_(flops), meter_(meter) {
    for (std::size_t level = 0; level < plan.levels.size(); ++level) {
      std::vector<std::int32_t>& first = first_child_.emplace_back();
      const std::vector<PlanNode>& nodes = plan.levels[level];
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (i == 0 || nodes[i].parent != nodes[i - 1].parent) {
          first.push_back(static_cast<std::int32_t>(i));
        }
      }
      first.push_back(static_cast<std::int32_t>(nodes.size()));
    }
  }

  // Per leaf, metric and sequence, the mean over the sequence's targets: f32
  // [leaves, kMetrics or 1, sequences], on the fold's device. tokens, targets: int64
  // [sequences, context]. `reference`: full widths to compare with, or nullptr.
  at::Tensor run(const at::Tensor& tokens, const at::Tensor& targets, const Widths* reference) {
    sequences_ = tokens.size(0);
    context_ = tokens.size(1);
    targets_ = targets.reshape({-1});
    reference_hidden_ = reference_log_p_ = at::Tensor();
    const State root = fold_.embed(tokens);
    if (reference) {
      State state = root;
      for (std::size_t l = 0; l < reference->size(); ++l) {
        const Child child = {0, (*reference)[l]};
        state = fold_.step(l, state, {&child, 1});
        count(flops_.layer(l, child.width));
      }
      reference_hidden_ = rows_of(fold_.readout(state));
      count(flops_.readout());
    }
    means_ = at::empty({static_cast<std::int64_t>(plan_.levels.back().size()),
                        reference ? kMetrics : 1, sequences_},
                       tokens.options().dtype(at::kFloat));
    descend(0, root, 0);
    return means_;
  }

 private:
  static at::Tensor rows_of(const at::Tensor& hidden) {
    return hidden.reshape({-1, hidden.size(-1)});
  }
  void count(double flops_per_token) {
    meter_.add(flops_per_token * static_cast<double>(sequences_ * context_));
  }

  // Everything below `parents`, which are nodes first, first + 1, ... of their level.
  void descend(std::size_t level, const State& parents, std::int64_t first) {
    const std::vector<std::int32_t>& first_child = first_child_[level];
    const auto child = [&](std::int64_t parent) {
      return static_cast<std::int64_t>(first_child[static_cast<std::size_t>(parent)]);
    };
    const std::int64_t end = first + parents.nodes();
    for (std::int64_t begin = first, next = 0; begin < end; begin = next) {
      next = begin + 1;
      while (next < end && next - begin < tiling_.parents &&
             child(next + 1) - child(begin) <= tiling_.children) {
        ++next;
      }
      const State chunk = parents.narrow(begin - first, next - begin);
      for (std::int64_t c = child(begin); c < child(next); c += tiling_.children) {
        step(level, chunk, begin, c, std::min(child(next), c + tiling_.children));
      }
    }
  }

  // Children [begin, end) of `level`, all of parents in the chunk, whose first is `first_parent`.
  void step(std::size_t level, const State& chunk, std::int64_t first_parent, std::int64_t begin,
            std::int64_t end) {
    const std::span<const PlanNode> nodes =
        std::span(plan_.levels[level])
            .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    std::vector<Child> children;
    children.reserve(nodes.size());
    for (const PlanNode& node : nodes) {
      children.push_back({node.parent - static_cast<std::int32_t>(first_parent), node.width});
    }
    const State states = fold_.step(level, chunk, children);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (i + 1 == nodes.size() || nodes[i + 1].parent != nodes[i].parent) {
        count(flops_.layer(level, nodes[i].width));
      }
    }
    if (level + 1 < plan_.levels.size()) {
      descend(level + 1, states, begin);
    } else {
      measure(states, begin);
    }
  }

  // Logits and losses of leaves first, first + 1, ..., in chunks of rows: rows of one leaf, or
  // several whole leaves where these have few rows.
  void measure(const State& leaves, std::int64_t first) {
    const std::int64_t nodes = leaves.nodes(), rows = sequences_ * context_;
    const at::Tensor hidden = rows_of(fold_.readout(leaves));
    const std::int64_t metrics = means_.size(1);
    const at::Tensor values = at::empty({metrics, nodes * rows}, means_.options());
    const std::int64_t whole = std::max<std::int64_t>(1, tiling_.logit_rows / rows);
    for (std::int64_t node = 0; node < nodes; node += whole) {
      const std::int64_t together = std::min(whole, nodes - node);
      const std::int64_t chunk =
          together > 1 ? together * rows : std::min(tiling_.logit_rows, rows);
      for (std::int64_t row = 0; row < together * rows; row += chunk) {
        const std::int64_t n = std::min(chunk, together * rows - row);
        measure_rows(hidden.narrow(0, node * rows + row, n), row, together,
                     values.narrow(1, node * rows + row, n));
      }
    }
    // [metrics, nodes, sequences] -> [nodes, metrics, sequences]
    means_.narrow(0, first, nodes)
        .copy_(values.view({metrics, nodes, sequences_, context_})
                   .mean(-1, /*keepdim=*/false, at::kDouble)
                   .transpose(0, 1));
    count(flops_.readout() * static_cast<double>(nodes));
  }

  // values[:, i] of rows whose first is row `row` of its leaf; with several leaves together, each
  // has all its rows.
  void measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
                    const at::Tensor& values) {
    const std::int64_t n = hidden.size(0), per_leaf = n / together;
    const at::Tensor logits = fold_.logits(hidden).to(at::kFloat).contiguous();
    at::Tensor targets = targets_.narrow(0, row, per_leaf);
    at::Tensor reference;
    if (reference_hidden_.defined()) reference = reference_rows(row, per_leaf);
    if (together > 1) {
      targets = targets.repeat({together});
      if (reference.defined()) reference = reference.repeat({together, 1});
    }
    if (logits.is_cpu()) {
      measure_cpu(logits, targets, reference, values);
      return;
    }
    const at::Tensor log_p = at::log_softmax(logits, 1);
    const at::Tensor loss = log_p.gather(1, targets.unsqueeze(1)).squeeze(1).neg();
    values[0].copy_(loss);
    if (reference.defined()) {
      const at::Tensor kl = reference.exp().mul(reference.sub(log_p)).sum(1);
      values[1].copy_(kl);
      const at::Tensor best = reference.argmax(1, /*keepdim=*/true);
      const at::Tensor agree = log_p.gather(1, best).squeeze(1).eq(log_p.amax({1}));
      const at::Tensor both = loss.add(kl);
      values[2].copy_(at::where(both.isnan(), both, agree.to(at::kFloat)));
    }
  }

  // The reference's log-probabilities of a leaf's rows [row, row + n): f32 [n, vocab]. The last
  // ones are kept, since siblings ask for the same rows.
  at::Tensor reference_rows(std::int64_t row, std::int64_t n) {
    if (!reference_log_p_.defined() || reference_row_ != row || reference_log_p_.size(0) != n) {
      const at::Tensor logits = fold_.logits(reference_hidden_.narrow(0, row, n));
      reference_log_p_ = at::log_softmax(logits.to(at::kFloat), 1);
      reference_row_ = row;
    }
    return reference_log_p_;
  }

  static void measure_cpu(const at::Tensor& logits, const at::Tensor& targets,
                          const at::Tensor& reference, const at::Tensor& values) {
    const std::int64_t vocab = logits.size(1);
    const float* const x = logits.const_data_ptr<float>();
    const std::int64_t* const target = targets.const_data_ptr<std::int64_t>();
    const float* const log_p = reference.defined() ? reference.const_data_ptr<float>() : nullptr;
    float* const out = values.data_ptr<float>();  // row m of `values` starts at m * stride
    const std::int64_t stride = values.stride(0);
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / vocab);
    at::parallel_for(0, logits.size(0), grain, [&](std::int64_t begin, std::int64_t end) {
      const std::span<float> losses(out + begin, static_cast<std::size_t>(end - begin));
      if (log_p) {
        token_consistency(x + begin * vocab, log_p + begin * vocab, vocab, target + begin, losses,
                          out + stride + begin, out + 2 * stride + begin);
      } else {
        token_losses(x + begin * vocab, vocab, target + begin, losses);
      }
    });
  }

  Fold& fold_;
  const SharedPlan& plan_;
  const Tiling& tiling_;
  const ForwardFlops& flops_;
  Meter& meter_;
  std::vector<std::vector<std::int32_t>> first_child_;  // [level][parent], and the end
  std::int64_t sequences_ = 0, context_ = 0;
  at::Tensor targets_;           // [sequences * context]
  at::Tensor means_;             // what run() returns
  at::Tensor reference_hidden_;  // [sequences * context, d]
  at::Tensor reference_log_p_;   // of rows from reference_row_
  std::int64_t reference_row_ = 0;
};

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
  const Tiling tiling =
      tile(plan, model,
           {.context = dataset.context,
            .sequences = dataset.sequences,
            .rows = device.is_cpu() ? std::max(1024, 512 * at::get_num_threads()) : 32768,
            .logit_bytes = device.is_cpu() ? 1u << 20 : 1u << 28,
            .element_bytes = element_bytes,
            .state_bytes = state_bytes,
            .memory = limits.memory,
            .reference = options.consistency});
  for (CandidateScores& scores : results) {
    const auto size = static_cast<std::size_t>(dataset.sequences);
    scores.loss.resize(size);
    if (options.consistency) scores.kl.resize(size), scores.agreement.resize(size);
  }

  const Widths full = model.space.full();
  Walk walk(fold, plan, tiling, flops, meter);
  // As many batches as the tiling's size makes, all of nearly the same size.
  const std::int64_t batches = (dataset.sequences + tiling.sequences - 1) / tiling.sequences;
  std::vector<std::int64_t> input, target;
  for (std::int64_t b = 0; b < batches; ++b) {
    const std::int64_t begin = dataset.sequences * b / batches;
    const std::int64_t count = dataset.sequences * (b + 1) / batches - begin;
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
  }
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
