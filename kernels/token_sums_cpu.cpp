#include "kernels/row_sums.h"
#include "kernels/token_sums.h"

namespace mnm {
namespace {

MNM_INLINE std::int32_t index_of(const float* x, float value) {
  std::int32_t i = 0;
  while (x[i] != value) ++i;
  return i;
}

// At most kRowPiece words x[0, n), of which the first is word `first`.
MNM_INLINE void add_words(const float* x, std::int64_t n, std::int32_t first, TokenSums& s) {
  const float top = max_of(x, n);
  if (top > s.max) {
    s.sum *= exp_of(s.max - top);
    s.max = top;
    s.best = first + index_of(x, top);
  }
  s.sum += static_cast<float>(exp_sum(x, n, finite_or_zero(s.max)));
}

MNM_INLINE void add_reference(const float* x, const float* a, std::int64_t n, std::int32_t first,
                              TokenSums& s) {
  const float top = max_of(a, n);
  if (top > s.full_max) {
    const float less = exp_of(s.full_max - top);
    s.full_sum *= less;
    s.moved *= less;
    s.full_max = top;
    const std::int32_t at = index_of(a, top);
    s.full_best = first + at;
    s.at_best = x[at];
  }
  const float shift = finite_or_zero(s.full_max);
  float sums[kRowLanes] = {}, moved[kRowLanes] = {};
  const auto add = [&](std::int64_t lane, float a_word, float x_word) {
    const float p = exp_of(a_word - shift);
    sums[lane] += p;
    // A word that the reference takes to be impossible moves nothing, wherever the candidate has
    // it.
    moved[lane] += a_word == kNothing ? 0.0f : p * (a_word - x_word);
  };
  std::int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) {
    for (std::int64_t j = 0; j < kRowLanes; ++j) add(j, a[i + j], x[i + j]);
  }
  for (std::int64_t j = 0; i + j < n; ++j) add(j, a[i + j], x[i + j]);
  s.full_sum += sum_of(sums);
  s.moved += sum_of(moved);
}

MNM_INLINE void read_logits_cpu_body(const LogitChunk& c, std::int64_t begin, std::int64_t end,
                                     TokenSums* sums) {
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t token = row % c.period, target = c.targets[token] - c.first;
    const float* const x = static_cast<const float*>(c.logits) + row * c.stride;
    const float* const a =
        c.full ? static_cast<const float*>(c.full) + token * c.full_stride : nullptr;
    TokenSums& s = sums[row];
    if (c.first == 0) s = no_words();
    for (std::int64_t at = 0; at < c.words; at += kRowPiece) {
      const std::int64_t n = c.words - at < kRowPiece ? c.words - at : kRowPiece;
      const auto word = static_cast<std::int32_t>(c.first + at);
      add_words(x + at, n, word, s);
      if (a) add_reference(x + at, a + at, n, word, s);
    }
    if (target >= 0 && target < c.words) s.target = x[target];
  }
}

// At most kRowPiece words.
MNM_INLINE float accepted_of(const float* x, const float* a, std::int64_t n, const Normaliser& by) {
  float lanes[kRowLanes] = {};
  const auto term = [&](std::int64_t v) {
    return exp_of(smaller((x[v] - by.max) - by.log_sum, (a[v] - by.full_max) - by.full_log_sum));
  };
  std::int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) {
    for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[j] += term(i + j);
  }
  for (std::int64_t j = 0; i + j < n; ++j) lanes[j] += term(i + j);
  return sum_of(lanes);
}

MNM_INLINE void add_acceptance_cpu_body(const LogitChunk& c, std::int64_t begin, std::int64_t end,
                                        const TokenSums* sums, float* acceptance) {
  for (std::int64_t row = begin; row < end; ++row) {
    const float* const x = static_cast<const float*>(c.logits) + row * c.stride;
    const float* const a = static_cast<const float*>(c.full) + row % c.period * c.full_stride;
    const Normaliser by = normaliser_of(sums[row]);
    float sum = c.first == 0 ? by.start : acceptance[row];
    for (std::int64_t at = 0; at < c.words; at += kRowPiece) {
      const std::int64_t n = c.words - at < kRowPiece ? c.words - at : kRowPiece;
      sum += accepted_of(x + at, a + at, n, by);
    }
    acceptance[row] = sum;
  }
}

}  // namespace

MNM_KERNEL(add_acceptance_cpu,
           (const LogitChunk& chunk, std::int64_t begin, std::int64_t end, const TokenSums* sums,
            float* acceptance),
           (chunk, begin, end, sums, acceptance))

MNM_KERNEL(read_logits_cpu,
           (const LogitChunk& chunk, std::int64_t begin, std::int64_t end, TokenSums* sums),
           (chunk, begin, end, sums))

}  // namespace mnm
