#include "kernels/token_loss.h"

#include <cmath>
#include <cstddef>

#include "kernels/row_sums.h"

namespace mnm {
namespace {

MNM_INLINE void token_losses_body(const float* logits, std::int64_t vocab,
                                  const std::int64_t* targets, std::span<float> losses) {
  for (std::size_t r = 0; r < losses.size(); ++r, logits += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    losses[r] = (max - logits[targets[r]]) + log_sum;
  }
}

MNM_INLINE void token_consistency_body(const float* logits, const float* reference,
                                       std::int64_t vocab, const std::int64_t* targets,
                                       std::span<float> losses, float* kl, float* agree) {
  for (std::size_t r = 0; r < losses.size(); ++r, logits += vocab, reference += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    losses[r] = (max - logits[targets[r]]) + log_sum;

    float lanes[kRowLanes] = {};
    const auto term = [&](std::int64_t v) {
      return exp_of(reference[v]) * (reference[v] - ((logits[v] - max) - log_sum));
    };
    std::int64_t i = 0;
    for (; i + kRowLanes <= vocab; i += kRowLanes) {
      for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[j] += term(i + j);
    }
    for (std::int64_t j = 0; i + j < vocab; ++j) lanes[j] += term(i + j);
    kl[r] = sum_of(lanes);

    const float best = max_of(reference, vocab);
    std::int64_t at = 0;
    while (at + 1 < vocab && reference[at] != best) ++at;
    const float both = losses[r] + kl[r];
    agree[r] = both != both ? both : logits[at] == max ? 1.0f : 0.0f;
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
            std::span<float> losses),
           (logits, vocab, targets, losses))

MNM_KERNEL(token_consistency,
           (const float* logits, const float* reference, std::int64_t vocab,
            const std::int64_t* targets, std::span<float> losses, float* kl, float* agree),
           (logits, reference, vocab, targets, losses, kl, agree))

MNM_KERNEL(log_probabilities,
           (const float* logits, std::int64_t vocab, std::int64_t rows, float* out),
           (logits, vocab, rows, out))

}  // namespace mnm
