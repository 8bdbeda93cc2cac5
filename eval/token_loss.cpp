#include "eval/token_loss.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

namespace mnm {
namespace {

// Written as plain loops over kLanes accumulators, which the compiler turns into vector
// instructions; each entry point below compiles them once for any machine and once for AVX2.
#define MNM_INLINE [[gnu::always_inline]] inline
constexpr std::int64_t kLanes = 32;

// exp(x) for x <= 0, within 2 units in the last place; at most 4e-38 where x < -86, NaN for NaN.
// Cody-Waite reduction x = n ln 2 + r, |r| <= ln(2) / 2, and the minimax polynomial of Cephes'
// expf.
MNM_INLINE float exp_of(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  x = x < -86.0f ? -86.0f : x;
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // The low bits of `shifted` hold n: into the exponent with them.
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) +
                              (std::bit_cast<std::uint32_t>(shifted) << 23));
}

MNM_INLINE float larger(float a, float b) { return a > b ? a : b; }

MNM_INLINE float max_of(const float* x, std::int64_t n) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] = larger(x[i + j], lanes[j]);
  }
  for (std::int64_t j = 0; i + j < n; ++j) lanes[j] = larger(x[i + j], lanes[j]);
  float max = lanes[0];
  for (float lane : lanes) max = larger(lane, max);
  return max;
}

MNM_INLINE float sum_of(const float (&lanes)[kLanes]) {
  float sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

// sum of exp(x - max). Blocks of lanes are summed in chunks, so rounding grows with the square root
// of a vocabulary's size and not with it.
MNM_INLINE double exp_sum(const float* x, std::int64_t n, float max) {
  constexpr std::int64_t kChunk = 64 * kLanes;
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t end = begin + kChunk < n ? begin + kChunk : n;
    float lanes[kLanes] = {};
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += exp_of(x[i + j] - max);
    }
    for (std::int64_t j = 0; i + j < end; ++j) lanes[j] += exp_of(x[i + j] - max);
    total += static_cast<double>(sum_of(lanes));
  }
  return total;
}

MNM_INLINE void losses_body(const float* logits, std::int64_t vocab, const std::int64_t* targets,
                            std::span<float> losses) {
  for (std::size_t r = 0; r < losses.size(); ++r, logits += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    losses[r] = (max - logits[targets[r]]) + log_sum;
  }
}

MNM_INLINE void consistency_body(const float* logits, const float* reference, std::int64_t vocab,
                                 const std::int64_t* targets, std::span<float> losses, float* kl,
                                 float* agree) {
  for (std::size_t r = 0; r < losses.size(); ++r, logits += vocab, reference += vocab) {
    const float max = max_of(logits, vocab);
    const float log_sum = static_cast<float>(std::log(exp_sum(logits, vocab, max)));
    losses[r] = (max - logits[targets[r]]) + log_sum;

    float lanes[kLanes] = {};
    const auto term = [&](std::int64_t v) {
      return exp_of(reference[v]) * (reference[v] - ((logits[v] - max) - log_sum));
    };
    std::int64_t i = 0;
    for (; i + kLanes <= vocab; i += kLanes) {
      for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
    }
    for (std::int64_t j = 0; i + j < vocab; ++j) lanes[j] += term(i + j);
    kl[r] = sum_of(lanes);

    const float best = max_of(reference, vocab);
    std::int64_t at = 0;
    while (at + 1 < vocab && reference[at] != best) ++at;
    agree[r] = losses[r] != losses[r] ? losses[r] : logits[at] == max ? 1.0f : 0.0f;
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

#if defined(__x86_64__)
#define MNM_AVX2 [[gnu::target("avx2,fma")]]
MNM_AVX2 void losses_avx2(const float* logits, std::int64_t vocab, const std::int64_t* targets,
                          std::span<float> losses) {
  losses_body(logits, vocab, targets, losses);
}
MNM_AVX2 void consistency_avx2(const float* logits, const float* reference, std::int64_t vocab,
                               const std::int64_t* targets, std::span<float> losses, float* kl,
                               float* agree) {
  consistency_body(logits, reference, vocab, targets, losses, kl, agree);
}
MNM_AVX2 void log_probabilities_avx2(const float* logits, std::int64_t vocab, std::int64_t rows,
                                     float* out) {
  log_probabilities_body(logits, vocab, rows, out);
}
const bool kAvx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#define MNM_DISPATCH(name, ...) kAvx2 ? name##_avx2(__VA_ARGS__) : name##_body(__VA_ARGS__)
#else
#define MNM_DISPATCH(name, ...) name##_body(__VA_ARGS__)
#endif

}  // namespace

void token_losses(const float* logits, std::int64_t vocab, const std::int64_t* targets,
                  std::span<float> losses) {
  MNM_DISPATCH(losses, logits, vocab, targets, losses);
}

void token_consistency(const float* logits, const float* reference, std::int64_t vocab,
                       const std::int64_t* targets, std::span<float> losses, float* kl,
                       float* agree) {
  MNM_DISPATCH(consistency, logits, reference, vocab, targets, losses, kl, agree);
}

void log_probabilities(const float* logits, std::int64_t vocab, std::int64_t rows, float* out) {
  MNM_DISPATCH(log_probabilities, logits, vocab, rows, out);
}

}  // namespace mnm
