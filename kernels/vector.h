// How the kernels of this room become vector code. They are plain loops in an inline body, which is
// compiled once for any machine and, on x86, once more for AVX2 with FMA. The choice is made at run
// time. The room is compiled with -fno-trapping-math, because without it GCC does not vectorize
// selections.
#pragma once

#include <bit>
#include <cstdint>

#define MNM_INLINE [[gnu::always_inline]] inline

// MNM_KERNEL(name, (parameters), (arguments)) defines the function `name` over `name_body`.
#if defined(__x86_64__)
#define MNM_KERNEL(name, parameters, arguments)                                               \
  namespace {                                                                                 \
  [[gnu::target("avx2,fma")]] void name##_avx2 parameters { name##_body arguments; }          \
  void name##_any parameters { name##_body arguments; }                                       \
  }                                                                                           \
  void name parameters {                                                                      \
    static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); \
    avx2 ? name##_avx2 arguments : name##_any arguments;                                      \
  }
#else
#define MNM_KERNEL(name, parameters, arguments) \
  void name parameters { name##_body arguments; }
#endif

namespace mnm {

// exp(x) for x <= 0, within 2 units in the last place; about 4e-38 below -86, NaN for NaN.
// Cody-Waite reduction x = n ln 2 + r, |r| <= ln(2) / 2, and the polynomial of Cephes' expf.
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
MNM_INLINE float smaller(float a, float b) { return a < b ? a : b; }

}  // namespace mnm
