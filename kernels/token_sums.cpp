#include "kernels/token_sums.h"

#include <algorithm>

namespace mnm {
namespace {

float merged(float l, float r) { return l + r; }

// As kernels/cuda/token_sums.cu has it: lanes of a warp in halves, then the warps in order.
template <typename Sums>
Sums merged_block(Sums (&of_thread)[kRowThreads]) {
  for (int warp = 0; warp < kRowThreads; warp += kWarp) {
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      for (int lane = 0; lane < offset; ++lane) {
        of_thread[warp + lane] = merged(of_thread[warp + lane], of_thread[warp + lane + offset]);
      }
    }
  }
  Sums all = of_thread[0];
  for (int warp = kWarp; warp < kRowThreads; warp += kWarp) all = merged(all, of_thread[warp]);
  return all;
}

template <typename T, bool kFull>
void read_rows(const LogitChunk& c, TokenSums* sums) {
  const T* const logits = static_cast<const T*>(c.logits);
  const T* const full = static_cast<const T*>(c.full);
  TokenSums of_thread[kRowThreads];
  for (std::int64_t row = 0; row < c.rows; ++row) {
    const std::int64_t token = row % c.period;
    for (int thread = 0; thread < kRowThreads; ++thread) {
      of_thread[thread] = sums_of_thread<T, kFull>(
          logits + row * c.stride, kFull ? full + token * c.full_stride : nullptr, c.words, c.first,
          c.targets[token], /*vectors=*/false, thread);
    }
    const TokenSums block = merged_block(of_thread);
    sums[row] = c.first == 0 ? block : merged(sums[row], block);
  }
}

}  // namespace

void read_logits(const LogitChunk& chunk, TokenSums* sums) {
  with_element(chunk.element, [&](auto element) {
    using T = decltype(element);
    chunk.full ? read_rows<T, true>(chunk, sums) : read_rows<T, false>(chunk, sums);
  });
}

void score_tokens(const TokenSums* sums, std::int64_t rows, const std::int64_t* targets,
                  std::int64_t period, const TokenMetrics& metrics) {
  for (std::int64_t row = 0; row < rows; ++row) {
    metrics.loss[row] = loss_of(sums[row]);
    metrics.accuracy[row] = accuracy_of(sums[row], targets[row % period]);
    if (!metrics.kl) continue;
    metrics.kl[row] = kl_of(sums[row]);
    metrics.agreement[row] = agreement_of(sums[row]);
  }
}

void add_acceptance(const LogitChunk& c, const TokenSums* sums, float* acceptance) {
  with_element(c.element, [&](auto element) {
    using T = decltype(element);
    float of_thread[kRowThreads];
    for (std::int64_t row = 0; row < c.rows; ++row) {
      const Normaliser normaliser = normaliser_of(sums[row]);
      for (int thread = 0; thread < kRowThreads; ++thread) {
        of_thread[thread] = accepted_of_thread(
            static_cast<const T*>(c.logits) + row * c.stride,
            static_cast<const T*>(c.full) + row % c.period * c.full_stride, c.words, normaliser,
            /*vectors=*/false, thread);
      }
      const float before = c.first == 0 ? normaliser.start : acceptance[row];
      acceptance[row] = before + merged_block(of_thread);
    }
  });
}

TokenScores score_token_plainly(const float* logits, const float* full, std::int64_t vocab,
                                std::int64_t target) {
  struct Softmax {
    double log_sum;
    std::int64_t best;
  };
  const auto softmax_of = [vocab](const float* x) {
    std::int64_t best = 0;
    for (std::int64_t v = 1; v < vocab; ++v) best = x[v] > x[best] ? v : best;
    double sum = 0;
    for (std::int64_t v = 0; v < vocab; ++v) sum += std::exp(double{x[v]} - double{x[best]});
    return Softmax{double{x[best]} + std::log(sum), best};
  };
  const Softmax mine = softmax_of(logits);
  TokenScores scores{
      mine.log_sum, mine.log_sum - double{logits[target]}, 0, 1, mine.best == target ? 1.0 : 0.0, 1,
      mine.best};
  if (!full) return scores;
  const Softmax theirs = softmax_of(full);
  scores.acceptance = 0;
  for (std::int64_t v = 0; v < vocab; ++v) {
    const double log_p = double{full[v]} - theirs.log_sum;
    if (full[v] == kNothing) continue;
    const double log_q = double{logits[v]} - mine.log_sum;
    scores.kl += std::exp(log_p) * (log_p - log_q);
    scores.acceptance += std::exp(std::min(log_p, log_q));
  }
  scores.agreement = logits[theirs.best] == logits[mine.best] ? 1 : 0;
  return scores;
}

}  // namespace mnm
