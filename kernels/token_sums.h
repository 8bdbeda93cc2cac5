// Sums over rows of logits, from which the losses of tokens follow. One reading pass gathers them,
// over a chunk of the vocabulary at a time, and the sums of chunks are merged. So no [tokens,
// vocab] matrix exists, and memory does not grow with the vocabulary. The parts marked MNM_HD are
// also a device's arithmetic (kernels/cuda/token_sums.h).
//
// Over the words seen so far, x are the logits of a candidate, and a those of the full model, its
// reference, if there is one:
//
//   log sum_v exp(x) = max + log(sum)                        (online softmax, Milakov & Gimelshein)
//   KL(full || candidate) = moved / full_sum + log sum exp(x) - log sum exp(a)
//   acceptance = sum_v min(p_full, p_candidate), which needs the finished sums: a second pass
//
// As in kernels/token_loss.h, NaN or +inf in a row makes its loss NaN, -inf is a word of
// probability 0, and of the most likely words of a reference the first counts.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/element.h"

namespace mnm {

struct TokenSums {
  float max, sum;     // sum of exp(x - max)
  float target;       // the target's logit
  std::int32_t best;  // the first of the most likely words; -1: none above -inf
  std::int32_t full_best;
  float full_max, full_sum;
  float moved;    // sum of exp(a - full_max) (a - x)
  float at_best;  // x of full_best
};

// Words [first, first + words) of `rows` rows. Row r belongs to token r % period, so the rows of
// several candidates for the same tokens may follow each other.
struct LogitChunk {
  Element element = Element::kF32;
  std::int64_t rows = 0, period = 0;
  std::int64_t first = 0, words = 0;  // first + words < 2^31
  const void* logits = nullptr;       // [rows, words], rows `stride` elements apart
  std::int64_t stride = 0;
  const void* full = nullptr;  // the reference's [period, words], or none
  std::int64_t full_stride = 0;
  const std::int64_t* targets = nullptr;  // [period], within the vocabulary
};

// Adds a chunk to sums[rows]. The chunk whose `first` is 0 comes first and starts anew. The other
// chunks follow in any order; each word comes once. This runs on the host, in the blocks and
// threads of a device, and judges the device.
void read_logits(const LogitChunk& chunk, TokenSums* sums);

// The same for rows [begin, end) of a chunk in f32, in the CPU's vectors. Chunks come with
// ascending words.
void read_logits_cpu(const LogitChunk& chunk, std::int64_t begin, std::int64_t end,
                     TokenSums* sums);

// Where the metrics of `rows` rows are written. token_losses and token_consistency define them
// (kernels/token_loss.h). Without a reference `kl` and `agreement` are null.
struct TokenMetrics {
  float *loss = nullptr, *accuracy = nullptr, *kl = nullptr, *agreement = nullptr;
};
// Row r belongs to targets[r % period].
void score_tokens(const TokenSums* sums, std::int64_t rows, const std::int64_t* targets,
                  std::int64_t period, const TokenMetrics& metrics);

// The second pass: adds a chunk, which has a reference, to acceptance[rows], with the finished
// sums. The chunk whose `first` is 0 starts anew. On the host, in the blocks and threads of a
// device.
void add_acceptance(const LogitChunk& chunk, const TokenSums* sums, float* acceptance);
// The same for rows [begin, end) of a chunk in f32, in the CPU's vectors.
void add_acceptance_cpu(const LogitChunk& chunk, std::int64_t begin, std::int64_t end,
                        const TokenSums* sums, float* acceptance);

// The plain definition, in double, which judges both.
struct TokenScores {
  double log_sum, loss, kl, agreement, accuracy, acceptance;
  std::int64_t best;
};
TokenScores score_token_plainly(const float* logits, const float* full, std::int64_t vocab,
                                std::int64_t target);

// ---- one thread's part ----

constexpr int kRowThreads = 128;  // of a row, its own block
constexpr int kWarp = 32;
constexpr float kNothing = -std::numeric_limits<float>::infinity();  // the logit of no word

MNM_HD inline float exp_of_difference(float x) {  // x <= 0 or NaN
#ifdef __CUDA_ARCH__
  return __expf(x);
#else
  return std::exp(x);
#endif
}

MNM_HD inline TokenSums no_words() {
  return {kNothing, 0, kNothing, -1, -1, kNothing, 0, 0, kNothing};
}

// Used so that -inf - max is not NaN if there is nothing but -inf.
MNM_HD inline float finite_or_zero(float max) { return max == kNothing ? 0.0f : max; }

// x[n..] and a[n..] are -inf. Word i is first + i.
MNM_HD inline void add_words(const float (&x)[kTogether], std::int32_t first, TokenSums& s) {
  float top = s.max;
  for (int i = 0; i < kTogether; ++i) top = x[i] > top ? x[i] : top;
  if (top > s.max) {
    s.sum *= exp_of_difference(s.max - top);
    s.max = top;
    for (int i = kTogether - 1; i >= 0; --i) s.best = x[i] == top ? first + i : s.best;
  }
  const float shift = finite_or_zero(s.max);
  float sum = 0;
  for (int i = 0; i < kTogether; ++i) sum += exp_of_difference(x[i] - shift);
  s.sum += sum;
}

MNM_HD inline void add_reference(const float (&x)[kTogether], const float (&a)[kTogether],
                                 std::int32_t first, TokenSums& s) {
  float top = s.full_max;
  for (int i = 0; i < kTogether; ++i) top = a[i] > top ? a[i] : top;
  if (top > s.full_max) {
    const float less = exp_of_difference(s.full_max - top);
    s.full_sum *= less;
    s.moved *= less;
    s.full_max = top;
    for (int i = kTogether - 1; i >= 0; --i) {
      if (a[i] == top) s.full_best = first + i, s.at_best = x[i];
    }
  }
  const float shift = finite_or_zero(s.full_max);
  float sum = 0, moved = 0;
  for (int i = 0; i < kTogether; ++i) {
    const float p = exp_of_difference(a[i] - shift);
    sum += p;
    moved += p > 0 ? p * (a[i] - x[i]) : 0;  // where p is 0, a - x may be NaN
  }
  s.full_sum += sum;
  s.moved += moved;
}

// What thread `thread` of kRowThreads adds for one row: every kRowThreads-th group of kTogether
// words.
template <typename T, bool kFull>
MNM_HD TokenSums sums_of_thread(const T* x, const T* a, std::int64_t words, std::int64_t first,
                                std::int64_t target, bool vectors, int thread) {
  TokenSums s = no_words();
  for (std::int64_t at = std::int64_t{thread} * kTogether; at < words;
       at += kRowThreads * kTogether) {
    const int n = words - at < kTogether ? static_cast<int>(words - at) : kTogether;
    const auto word = static_cast<std::int32_t>(first + at);
    float logits[kTogether];
    load(x + at, n, vectors, kNothing, logits);
    add_words(logits, word, s);
    if (kFull) {
      float full[kTogether];
      load(a + at, n, vectors, kNothing, full);
      add_reference(logits, full, word, s);
    }
    const std::int64_t i = target - first - at;
    if (i >= 0 && i < n) s.target = to_float(x[at + i]);
  }
  return s;
}

MNM_HD inline bool comes_first(float max, std::int32_t best, float other_max,
                               std::int32_t other_best) {
  return max > other_max ||
         (max == other_max && best >= 0 && (other_best < 0 || best < other_best));
}

// The merged sums of different words of one row. The order affects only rounding.
MNM_HD inline TokenSums merged(const TokenSums& l, const TokenSums& r) {
  TokenSums s = l;
  if (comes_first(r.max, r.best, l.max, l.best)) s.max = r.max, s.best = r.best;
  const float shift = finite_or_zero(s.max);
  s.sum = l.sum * exp_of_difference(l.max - shift) + r.sum * exp_of_difference(r.max - shift);
  s.target = r.target > l.target ? r.target : l.target;
  if (comes_first(r.full_max, r.full_best, l.full_max, l.full_best)) {
    s.full_max = r.full_max, s.full_best = r.full_best, s.at_best = r.at_best;
  }
  const float full_shift = finite_or_zero(s.full_max);
  const float left = exp_of_difference(l.full_max - full_shift);
  const float right = exp_of_difference(r.full_max - full_shift);
  s.full_sum = l.full_sum * left + r.full_sum * right;
  s.moved = l.moved * left + r.moved * right;
  return s;
}

// What the second pass of a row subtracts from its logits to get log-probabilities. `start` is the
// value that it begins with, NaN if the loss or KL is.
struct Normaliser {
  float max, log_sum, full_max, full_log_sum, start;
};

template <typename T>
MNM_HD float accepted_of_thread(const T* x, const T* a, std::int64_t words, const Normaliser& n,
                                bool vectors, int thread) {
  float sum = 0;
  for (std::int64_t at = std::int64_t{thread} * kTogether; at < words;
       at += kRowThreads * kTogether) {
    const int count = words - at < kTogether ? static_cast<int>(words - at) : kTogether;
    float logits[kTogether], full[kTogether];
    load(x + at, count, vectors, kNothing, logits);
    load(a + at, count, vectors, kNothing, full);
    for (int i = 0; i < kTogether; ++i) {
      const float mine = (logits[i] - n.max) - n.log_sum;
      const float theirs = (full[i] - n.full_max) - n.full_log_sum;
      sum += exp_of_difference(mine < theirs ? mine : theirs);
    }
  }
  return sum;
}

MNM_HD inline float loss_of(const TokenSums& s) { return (s.max - s.target) + logf(s.sum); }
MNM_HD inline float kl_of(const TokenSums& s) {
  return s.moved / s.full_sum + ((s.max - s.full_max) + logf(s.sum / s.full_sum));
}
MNM_HD inline float agreement_of(const TokenSums& s) {
  const float both = loss_of(s) + kl_of(s);
  return both != both ? both : s.at_best == s.max ? 1.0f : 0.0f;
}

// Of equally likely words the first counts.
MNM_HD inline float accuracy_of(const TokenSums& s, std::int64_t target) {
  const float loss = loss_of(s);
  return loss != loss ? loss : s.best == target ? 1.0f : 0.0f;
}
MNM_HD inline Normaliser normaliser_of(const TokenSums& s) {
  const float both = loss_of(s) + kl_of(s);
  return {s.max, logf(s.sum), s.full_max, logf(s.full_sum), both != both ? both : 0.0f};
}

}  // namespace mnm
