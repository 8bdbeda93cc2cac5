#include "eval/walk.h"

#include <ATen/Parallel.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "kernels/token_loss.h"

namespace mnm {
namespace {

at::Tensor rows_of(const at::Tensor& hidden) { return hidden.reshape({-1, hidden.size(-1)}); }

void measure_cpu(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& reference,
                 const at::Tensor& values) {
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

}  // namespace

Walk::Walk(Fold& fold, const SharedPlan& plan, const Tiling& tiling, const ForwardFlops& flops,
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

at::Tensor Walk::run(const at::Tensor& tokens, const at::Tensor& targets, const Widths* reference) {
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
  means_ = at::empty(
      {static_cast<std::int64_t>(plan_.levels.back().size()), reference ? kMetrics : 1, sequences_},
      tokens.options().dtype(at::kFloat));
  descend(0, root, 0);
  return means_;
}

void Walk::count(double flops_per_token) {
  meter_.add(flops_per_token * static_cast<double>(sequences_ * context_));
}

// Everything below `parents`, which are nodes first, first + 1, ... of their level.
void Walk::descend(std::size_t level, const State& parents, std::int64_t first) {
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
void Walk::step(std::size_t level, const State& chunk, std::int64_t first_parent,
                std::int64_t begin, std::int64_t end) {
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
void Walk::measure(const State& leaves, std::int64_t first) {
  const std::int64_t nodes = leaves.nodes(), rows = sequences_ * context_;
  const at::Tensor hidden = rows_of(fold_.readout(leaves));
  const std::int64_t metrics = means_.size(1);
  const at::Tensor values = at::empty({metrics, nodes * rows}, means_.options());
  const std::int64_t whole = std::max<std::int64_t>(1, tiling_.logit_rows / rows);
  for (std::int64_t node = 0; node < nodes; node += whole) {
    const std::int64_t together = std::min(whole, nodes - node);
    const std::int64_t chunk = together > 1 ? together * rows : std::min(tiling_.logit_rows, rows);
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
void Walk::measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
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
at::Tensor Walk::reference_rows(std::int64_t row, std::int64_t n) {
  if (!reference_log_p_.defined() || reference_row_ != row || reference_log_p_.size(0) != n) {
    const at::Tensor logits = fold_.logits(reference_hidden_.narrow(0, row, n));
    reference_log_p_ = at::log_softmax(logits.to(at::kFloat), 1);
    reference_row_ = row;
  }
  return reference_log_p_;
}

}  // namespace mnm
