#include "kernels/token_loss.h"

#include <cmath>
#include <cstddef>

#include "kernels/row_sums.h"

namespace mnm {
namespace {

// Whether the target is the first of the most likely words of a row.
MNM_INLINE float hit_of(const float* logits, std::int64_t target, float max, float loss) {
  if (loss != loss) return loss;
  return logits[target] == max && (target == 0 || max_of(logits, target) < max) ? 1.0f : 0.0f;
}

// sum_v min(exp(reference), p) of a row, in the pieces of exp_sum.
MNM_INLINE float accepted_of(const float* logits, const float* reference, std::int64_t vocab,
                             float max, float log_sum) {
  double total = 0;
  for (std::int64_t begin = 0; begin < vocab; begin += kRowPiece) {
    const std::int64_t end = begin + kRowPiece < vocab ? begin + kRowPiece : vocab;
    float lanes[kRowLanes] = {};
    const auto term = [&](std::int64_t v) {
      return exp_of(smaller((logits[v] - max) - log_sum, reference[v]));
    };
    std::int64_t i = begin;
    for (; i + kRowLanes <= end; i += kRowLanes) {
      for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[j] += term(i + j);
    }
    for (std::int64_t j = 0; i + j < end; ++j) lanes[j] += term(i + j);
    total += static_cast<double>(sum_of(lanes));
  }
  return static_cast<float>(total);
}

MNM_INLINE void token_losses_body(const float* logits, std::int64_t vocab,
                                  const std::int64_t* targets, std::span<float> losses,
                                  float* accuracy) {
  for (std::size_t r = 0; r < losses.size(); ++r, logits += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    losses[r] = (max - logits[targets[r]]) + log_sum;
    if (accuracy) accuracy[r] = hit_of(logits, targets[r], max, losses[r]);
  }
}

MNM_INLINE void token_consistency_body(const float* logits, const float* reference,
                                       std::int64_t vocab, const std::int64_t* targets,
                                       std::span<float> losses, float* accuracy,
                                       const TokenComparison& out) {
  for (std::size_t r = 0; r < losses.size(); ++r, logits += vocab, reference += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    losses[r] = (max - logits[targets[r]]) + log_sum;
    if (accuracy) accuracy[r] = hit_of(logits, targets[r], max, losses[r]);

    float lanes[kRowLanes] = {};
    const auto term = [&](std::int64_t v) {
      return exp_of(reference[v]) * (reference[v] - ((logits[v] - max) - log_sum));
    };
    std::int64_t i = 0;
    for (; i + kRowLanes <= vocab; i += kRowLanes) {
      for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[j] += term(i + j);
    }
    for (std::int64_t j = 0; i + j < vocab; ++j) lanes[j] += term(i + j);
    out.kl[r] = sum_of(lanes);

    const float best = max_of(reference, vocab);
    std::int64_t at = 0;
    while (at + 1 < vocab && reference[at] != best) ++at;
    const float both = losses[r] + out.kl[r];
    out.agree[r] = both != both ? both : logits[at] == max ? 1.0f : 0.0f;
    if (!out.acceptance) continue;
    out.acceptance[r] = both != both ? both : accepted_of(logits, reference, vocab, max, log_sum);
  }
}

MNM_INLINE void log_probabilities_body(const float* logits, std::int64_t vocab, std::int64_t rows,
                                       float* out) {
  for (std::int64_t r = 0; r < rows; ++r, logits += vocab, out += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    for (std::int64_t v = 0; v < vocab; ++v) out[v] = (logits[v] - max) - log_sum;
  }
}

}  // namespace

MNM_KERNEL(token_losses,
           (const float* logits, std::int64_t vocab, const std::int64_t* targets,
            std::span<float> losses, float* accuracy),
           (logits, vocab, targets, losses, accuracy))

MNM_KERNEL(token_consistency,
           (const float* logits, const float* reference, std::int64_t vocab,
            const std::int64_t* targets, std::span<float> losses, float* accuracy,
            const TokenComparison& comparison),
           (logits, reference, vocab, targets, losses, accuracy, comparison))

MNM_KERNEL(log_probabilities,
           (const float* logits, std::int64_t vocab, std::int64_t rows, float* out),
           (logits, vocab, rows, out))

}  // namespace mnm
