// Losses from rows of logits on the CPU, in one pass that stays in cache. Raw pointers only.
#pragma once

#include <cstdint>
#include <span>

namespace mnm {

// losses[r] = log(sum_v exp(logits[r, v])) - logits[r, targets[r]], in f32, for losses.size() rows
// of `vocab` logits each, row-major. Accurate to a few f32 roundings of the largest logit. A row
// that holds NaN or +inf gives NaN; -inf is a word of probability 0. Targets are within [0, vocab).
void token_losses(const float* logits, std::int64_t vocab, const std::int64_t* targets,
                  std::span<float> losses);

// The same, and against a reference's log-probabilities (row-major likewise):
//   kl[r]    = sum_v exp(reference[r, v]) * (reference[r, v] - log p[r, v])
//   agree[r] = 1 where the reference's most likely word is (among) the most likely here, else 0;
//              NaN where loss or kl is.
void token_consistency(const float* logits, const float* reference, std::int64_t vocab,
                       const std::int64_t* targets, std::span<float> losses, float* kl,
                       float* agree);

// out[r, v] = log p[r, v] of the logits; out may be the logits themselves.
void log_probabilities(const float* logits, std::int64_t vocab, std::int64_t rows, float* out);

}  // namespace mnm
