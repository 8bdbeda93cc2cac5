// Losses from rows of logits on the CPU, in one pass that stays in cache. Raw pointers only.
#pragma once

#include <cstdint>
#include <span>

namespace mnm {

// For losses.size() rows of `vocab` logits each, row-major, in f32:
//
//   losses[r]   = log(sum_v exp(logits[r, v])) - logits[r, targets[r]]
//   accuracy[r] = 1 if the target is the first of the most likely words, else 0; NaN if the loss is
//                 NaN. Not written if it is null.
//
// The loss is accurate to a few f32 roundings of the largest logit. A row that holds NaN or +inf
// gives NaN. -inf is a word of probability 0. Targets are within [0, vocab).
void token_losses(const float* logits, std::int64_t vocab, const std::int64_t* targets,
                  std::span<float> losses, float* accuracy);

// What a comparison with the log-probabilities of a reference (also row-major) adds:
//
//   kl[r]    = sum_v exp(reference[r, v]) * (reference[r, v] - log p[r, v])
//   agree[r] = 1 if the reference's most likely word is among the most likely here, else 0
//   acceptance[r] = sum_v min(exp(reference[r, v]), p[r, v]); not computed if it is null
//
// All are NaN if the loss or kl is.
struct TokenComparison {
  float *kl = nullptr, *agree = nullptr, *acceptance = nullptr;
};
void token_consistency(const float* logits, const float* reference, std::int64_t vocab,
                       const std::int64_t* targets, std::span<float> losses, float* accuracy,
                       const TokenComparison& comparison);

// out[r, v] = log p[r, v] of the logits; out may be the logits themselves.
void log_probabilities(const float* logits, std::int64_t vocab, std::int64_t rows, float* out);

}  // namespace mnm
