#include "fold/readout.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstddef>
#include <limits>

#include "fold/launch.h"
#include "kernels/cuda/token_sums.h"
#include "kernels/token_loss.h"

namespace mnm {
namespace {

void measure_cpu(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& reference,
                 bool acceptance, const at::Tensor& values) {
  const std::int64_t vocab = logits.size(1);
  const float* const x = logits.const_data_ptr<float>();
  const std::int64_t* const target = targets.const_data_ptr<std::int64_t>();
  const float* const log_p = reference.defined() ? reference.const_data_ptr<float>() : nullptr;
  const auto out = [&](Metric metric, std::int64_t row) {
    return values.data_ptr<float>() + static_cast<std::int64_t>(metric) * values.stride(0) + row;
  };
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / vocab);
  at::parallel_for(0, logits.size(0), grain, [&](std::int64_t begin, std::int64_t end) {
    const std::span<float> losses(out(Metric::kLoss, begin), static_cast<std::size_t>(end - begin));
    float* const accuracy = out(Metric::kAccuracy, begin);
    if (!log_p) return token_losses(x + begin * vocab, vocab, target + begin, losses, accuracy);
    token_consistency(x + begin * vocab, log_p + begin * vocab, vocab, target + begin, losses,
                      accuracy,
                      {out(Metric::kKl, begin), out(Metric::kAgreement, begin),
                       acceptance ? out(Metric::kAcceptance, begin) : nullptr});
  });
}

// How many of these words come before the target: logits [rows, words] of words first, first + 1,
// ..., the target's logit and number [rows] -> int64 [rows]. Of equal ones the first counts.
at::Tensor words_before(const at::Tensor& logits, std::int64_t first,
                        const at::Tensor& target_logit, const at::Tensor& target) {
  const at::Tensor word = at::arange(first, first + logits.size(1), target.options());
  const at::Tensor limit = target_logit.unsqueeze(1);
  return logits.gt(limit)
      .logical_or(logits.eq(limit).logical_and(word.lt(target.unsqueeze(1))))
      .sum(1);
}

// Of `before`, into the row of accuracy5, the last of those that need the logits. A loss that is no
// number makes none.
void top5_into(const at::Tensor& before, const at::Tensor& values) {
  constexpr std::int64_t kMost = 5;
  values[-1].copy_(before.lt(kMost));
  values[-1].masked_fill_(values[0].isnan(), std::numeric_limits<float>::quiet_NaN());
}

// Of the most likely words' probabilities, into the row of confidence. A loss that is no number
// makes none.
void confidence_into(const at::Tensor& probability, const at::Tensor& losses,
                     const at::Tensor& confidence) {
  confidence.copy_(probability);
  confidence.masked_fill_(losses.isnan(), std::numeric_limits<float>::quiet_NaN());
}

// By the kernels of the device where `where` lies.
void read(const LogitChunk& chunk, const at::Tensor& where, TokenSums* sums) {
  if (!on_cuda(where)) {
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / chunk.words);
    return at::parallel_for(0, chunk.rows, grain, [&](std::int64_t begin, std::int64_t end) {
      read_logits_cpu(chunk, begin, end, sums);
    });
  }
  launch(where, "read logits", [&] { return read_logits_cuda(chunk, sums); });
}

void accept(const LogitChunk& chunk, const at::Tensor& where, const TokenSums* sums,
            float* acceptance) {
  if (!on_cuda(where)) {
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / chunk.words);
    return at::parallel_for(0, chunk.rows, grain, [&](std::int64_t begin, std::int64_t end) {
      add_acceptance_cpu(chunk, begin, end, sums, acceptance);
    });
  }
  launch(where, "add acceptance", [&] { return add_acceptance_cuda(chunk, sums, acceptance); });
}

void score(const TokenSums* sums, std::int64_t rows, const at::Tensor& where,
           const std::int64_t* targets, std::int64_t period, const TokenMetrics& metrics) {
  if (!on_cuda(where)) return score_tokens(sums, rows, targets, period, metrics);
  launch(where, "score tokens",
         [&] { return score_tokens_cuda(sums, rows, targets, period, metrics); });
}

}  // namespace

Readout::Readout(Fold& fold, const LogitTile& tile, const Batch& batch, RequestedMetrics requested,
                 const PlacedDatabase* database)
    : fold_(fold),
      tile_(tile),
      requested_(requested),
      database_(database),
      run_of_(batch.run_of),
      runs_(batch.runs),
      targets_(batch.targets.reshape({-1})) {
  if (run_of_.defined()) {
    sequences_ = 1;
    context_ = targets_.size(0);
    scored_ = batch.scored;
    return;
  }
  sequences_ = batch.targets.size(0);
  context_ = batch.targets.size(1);
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
  kept_.clear();
  kept_bytes_ = 0;
}

at::Tensor Readout::measure(const State& leaves) {
  const std::int64_t nodes = leaves.nodes();
  const at::Tensor hidden = rows_of(leaves);
  const at::Tensor values =
      at::empty({metrics(), hidden.size(0)}, hidden.options().dtype(at::kFloat));
  const at::Tensor of_words = values.narrow(0, 0, metrics_of_words());
  if (!on_cuda(hidden) && tile_.words >= tile_.vocab) {
    measure_whole(hidden, of_words);
  } else {
    measure_in_words(hidden, of_words);
  }
  if (database_) {
    retrieval_into(*database_, hidden, targets_.repeat({nodes}),
                   values.narrow(0, metrics_of_words(), kRetrievalMetrics));
  }
  if (run_of_.defined()) {
    const at::Tensor each = values.view({metrics(), nodes, context_}).to(at::kDouble);
    return at::zeros({metrics(), nodes, runs_}, each.options())
        .index_add_(-1, run_of_, each)
        .transpose(0, 1)
        .to(at::kFloat);
  }
  // [metrics, nodes, sequences] -> [nodes, metrics, sequences]
  return values.view({metrics(), nodes, sequences_, context_})
      .mean(-1, /*keepdim=*/false, at::kDouble)
      .transpose(0, 1)
      .to(at::kFloat);
}

// In chunks of rows: rows of one leaf, or several whole leaves where these have few rows.
void Readout::measure_whole(const at::Tensor& hidden, const at::Tensor& values) {
  const std::int64_t rows = sequences_ * context_, nodes = hidden.size(0) / rows;
  const std::int64_t whole = std::max<std::int64_t>(1, tile_.rows / rows);
  for (std::int64_t node = 0; node < nodes; node += whole) {
    const std::int64_t together = std::min(whole, nodes - node);
    const std::int64_t chunk = together > 1 ? together * rows : std::min(tile_.rows, rows);
    for (std::int64_t row = 0; row < together * rows; row += chunk) {
      const std::int64_t n = std::min(chunk, together * rows - row);
      measure_rows(hidden.narrow(0, node * rows + row, n), row, together,
                   values.narrow(1, node * rows + row, n));
    }
  }
}

// values[:, i] of rows whose first is row `row` of its leaf; with several leaves together, each
// has all its rows.
void Readout::measure_rows(const at::Tensor& hidden, std::int64_t row, std::int64_t together,
                           const at::Tensor& values) {
  const std::int64_t n = hidden.size(0), per_leaf = n / together;
  const at::Tensor logits = fold_.logits(hidden).to(at::kFloat).contiguous();
  at::Tensor targets = targets_.narrow(0, row, per_leaf);
  at::Tensor reference;
  if (reference_hidden_.defined()) {
    reference = of_reference(row, 0, [&] {
      const at::Tensor full = fold_.logits(reference_hidden_.narrow(0, row, per_leaf));
      return at::log_softmax(full.to(at::kFloat), 1);
    });
  }
  if (together > 1) {
    targets = targets.repeat({together});
    if (reference.defined()) reference = reference.repeat({together, 1});
  }
  measure_cpu(logits, targets, reference, requested_.acceptance, values);
  if (requested_.confidence) {
    confidence_into(at::softmax(logits, 1).amax(1), values[0], values[confidence_row()]);
  }
  if (!requested_.accuracy5) return;
  const at::Tensor target_logit = logits.gather(1, targets.unsqueeze(1)).squeeze(1);
  top5_into(words_before(logits, 0, target_logit, targets), values);
}

// What `make` gives for the chunk of the reference that begins at a row and a word.
template <typename Make>
at::Tensor Readout::of_reference(std::int64_t row, std::int64_t word, const Make& make) {
  const auto found = kept_.find({row, word});
  if (found != kept_.end()) return found->second;
  const at::Tensor made = make();
  if (kept_bytes_ + made.nbytes() <= tile_.kept) {
    kept_bytes_ += made.nbytes();
    kept_.insert({{row, word}, made});
  }
  return made;
}

// f32, or on a device what the product has, of words [first, first + words).
at::Tensor Readout::logits_in(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                              std::int64_t first, std::int64_t words) {
  const at::Tensor logits = fold_.logits_of(hidden.narrow(0, row, n), first, words).contiguous();
  const bool as_f32 = !on_cuda(logits) || logits.scalar_type() == at::kDouble;
  return as_f32 ? logits.to(at::kFloat) : logits;
}

void Readout::measure_in_words(const at::Tensor& hidden, const at::Tensor& values) {
  const std::int64_t rows = sequences_ * context_, most = std::min(tile_.rows, rows);
  for (std::int64_t row = 0; row < rows; row += most) {
    measure_block(hidden, row, std::min(most, rows - row), values);
  }
}

// Calls read(chunk, node) for rows [row, row + n) of every leaf, of which several are taken at once
// where they are whole, chunk of words by chunk of words: the reference's logits of a chunk serve
// all leaves.
template <typename Read>
void Readout::for_each_chunk(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                             const Read& read) {
  const std::int64_t rows = sequences_ * context_, nodes = hidden.size(0) / rows;
  const std::int64_t whole = std::max<std::int64_t>(1, tile_.rows / rows);  // leaves at once
  const bool with_reference = reference_hidden_.defined();
  for (std::int64_t first = 0; first < tile_.vocab; first += tile_.words) {
    const std::int64_t words = std::min(tile_.words, tile_.vocab - first);
    at::Tensor full;
    if (with_reference) {
      full = of_reference(row, first,
                          [&] { return logits_in(reference_hidden_, row, n, first, words); });
    }
    for (std::int64_t node = 0; node < nodes; node += whole) {
      const std::int64_t together = std::min(whole, nodes - node);
      const at::Tensor logits = logits_in(hidden, node * rows + row, together * n, first, words);
      const LogitChunk chunk = {.element = element_of(logits),
                                .rows = together * n,
                                .period = n,
                                .first = first,
                                .words = words,
                                .logits = logits.const_data_ptr(),
                                .stride = words,
                                .full = with_reference ? full.const_data_ptr() : nullptr,
                                .full_stride = words,
                                .targets = targets_.const_data_ptr<std::int64_t>() + row};
      read(chunk, node, logits);
    }
  }
}

// values[:, i] of rows [row, row + n) of every leaf.
void Readout::measure_block(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                            const at::Tensor& values) {
  const std::int64_t rows = sequences_ * context_, nodes = hidden.size(0) / rows;
  const bool with_reference = reference_hidden_.defined();
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(TokenSums));
  const at::Tensor sums = at::empty({nodes * n * kSize}, hidden.options().dtype(at::kByte));
  auto* const sum = static_cast<TokenSums*>(sums.data_ptr());
  const auto out = [&](Metric metric, std::int64_t node) {
    return values.data_ptr<float>() + static_cast<std::int64_t>(metric) * values.stride(0) +
           node * rows + row;
  };
  for_each_chunk(hidden, row, n,
                 [&](const LogitChunk& chunk, std::int64_t node, const at::Tensor&) {
                   read(chunk, hidden, sum + node * n);
                 });
  const std::int64_t whole = std::max<std::int64_t>(1, tile_.rows / rows);
  for (std::int64_t node = 0; node < nodes; node += whole) {
    score(sum + node * n, std::min(whole, nodes - node) * n, hidden,
          targets_.const_data_ptr<std::int64_t>() + row, n,
          {out(Metric::kLoss, node), out(Metric::kAccuracy, node),
           with_reference ? out(Metric::kKl, node) : nullptr,
           with_reference ? out(Metric::kAgreement, node) : nullptr});
  }
  if (requested_.confidence) measure_confidence(row, n, sums, values);
  if (requested_.accuracy5) measure_top5(hidden, row, n, sums, values);
  if (!with_reference || !requested_.acceptance) return;
  for_each_chunk(hidden, row, n,
                 [&](const LogitChunk& chunk, std::int64_t node, const at::Tensor&) {
                   accept(chunk, hidden, sum + node * n, out(Metric::kAcceptance, node));
                 });
}

// sums: the TokenSums of rows [row, row + n) of every leaf, as bytes. Their `sum` is that of
// exp(x - max), so the most likely word has the probability 1 / sum.
void Readout::measure_confidence(std::int64_t row, std::int64_t n, const at::Tensor& sums,
                                 const at::Tensor& values) {
  const std::int64_t rows = sequences_ * context_, nodes = values.size(1) / rows;
  constexpr auto kFloats = static_cast<std::int64_t>(sizeof(TokenSums) / sizeof(float));
  constexpr auto kSum = static_cast<std::int64_t>(offsetof(TokenSums, sum) / sizeof(float));
  const at::Tensor sum = sums.view(at::kFloat).view({nodes, n, kFloats}).select(2, kSum);
  const at::Tensor of_rows = values.view({values.size(0), nodes, rows}).narrow(2, row, n);
  confidence_into(sum.reciprocal(), of_rows.select(0, 0), of_rows.select(0, confidence_row()));
}

// sums: as above.
void Readout::measure_top5(const at::Tensor& hidden, std::int64_t row, std::int64_t n,
                           const at::Tensor& sums, const at::Tensor& values) {
  const std::int64_t rows = sequences_ * context_, nodes = hidden.size(0) / rows;
  constexpr auto kFloats = static_cast<std::int64_t>(sizeof(TokenSums) / sizeof(float));
  constexpr auto kTarget = static_cast<std::int64_t>(offsetof(TokenSums, target) / sizeof(float));
  const at::Tensor target_logit =
      sums.view(at::kFloat).view({nodes * n, kFloats}).select(1, kTarget);
  const at::Tensor target = targets_.narrow(0, row, n);
  const at::Tensor before = at::zeros({nodes * n}, target.options());
  for_each_chunk(hidden, row, n,
                 [&](const LogitChunk& chunk, std::int64_t node, const at::Tensor& logits) {
                   const at::Tensor limit = target_logit.narrow(0, node * n, chunk.rows);
                   before.narrow(0, node * n, chunk.rows)
                       .add_(words_before(logits.to(at::kFloat), chunk.first, limit,
                                          target.repeat({chunk.rows / n})));
                 });
  const at::Tensor of_rows = values.view({values.size(0), nodes, rows}).narrow(2, row, n);
  for (std::int64_t node = 0; node < nodes; ++node) {
    top5_into(before.narrow(0, node * n, n), of_rows.select(1, node));
  }
}

}  // namespace mnm
