#include "eval/readout.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "kernels/token_loss.h"

namespace mnm {
namespace {

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

Readout::Readout(Fold& fold, std::int64_t logit_rows, const Batch& batch)
    : fold_(fold),
      logit_rows_(logit_rows),
      sequences_(batch.targets.size(0)),
      context_(batch.targets.size(1)),
      targets_(batch.targets.reshape({-1})) {
  if (!batch.scored.defined()) return;
  const at::Tensor first =
      at::arange(sequences_, batch.scored.options()).unsqueeze(1).mul(context_);
  scored_ = batch.scored.add(first).flatten();
  targets_ = targets_.index_select(0, scored_);
  context_ = batch.scored.size(1);
}

// Final hidden states of what is scored: [nodes * sequences * positions, d].
at::Tensor Readout::rows_of(const State& state) const {
  const at::Tensor hidden = fold_.readout(state);
  if (!scored_.defined()) return hidden.reshape({-1, hidden.size(-1)});
  return hidden.flatten(1, 2).index_select(1, scored_).flatten(0, 1);
}

void Readout::set_reference(const State& full) {
  reference_hidden_ = rows_of(full);
  reference_log_p_ = at::Tensor();
}

// In chunks of rows: rows of one leaf, or several whole leaves where these have few rows.
at::Tensor Readout::measure(const State& leaves) {
  const std::int64_t nodes = leaves.nodes(), rows = sequences_ * context_;
  const at::Tensor hidden = rows_of(leaves);
  const at::Tensor values =
      at::empty({metrics(), nodes * rows}, hidden.options().dtype(at::kFloat));
  const std::int64_t whole = std::max<std::int64_t>(1, logit_rows_ / rows);
  for (std::int64_t node = 0; node < nodes; node += whole) {
    const std::int64_t together = std::min(whole, nodes - node);
    const std::int64_t chunk = together > 1 ? together * rows : std::min(logit_rows_, rows);
    for (std::int64_t row = 0; row < together * rows; row += chunk) {
      const std::int64_t n = std::min(chunk, together * rows - row);
      measure_rows(hidden.narrow(0, node * rows + row, n), row, together,
                   values.narrow(1, node * rows + row, n));
    }
  }
  // [metrics, nodes, sequences] -> [nodes, metrics, sequences]
  return values.view({metrics(), nodes, sequences_, context_})
      .mean(-1, /*keepdim=*/false, at::kDouble)
      .transpose(0, 1)
      .to(at::kFloat);
}

// values[:, i] of rows whose first is row `row` of its leaf; with several leaves together, each
// has all its rows.
void Readout::measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
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
at::Tensor Readout::reference_rows(std::int64_t row, std::int64_t n) {
  if (!reference_log_p_.defined() || reference_row_ != row || reference_log_p_.size(0) != n) {
    const at::Tensor logits = fold_.logits(reference_hidden_.narrow(0, row, n));
    reference_log_p_ = at::log_softmax(logits.to(at::kFloat), 1);
    reference_row_ = row;
  }
  return reference_log_p_;
}

}  // namespace mnm
