// The types of elements of a kernel's matrices, and how an element becomes a float. The code is the
// same on the host and on a device, so tests on the host judge what a device computes. Arithmetic
// is in f32, whatever is stored.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#ifdef __CUDACC__
#define MNM_HD __host__ __device__
#else
#define MNM_HD
#endif

namespace mnm {

enum class Element : std::uint8_t { kF32, kBF16, kF16 };

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

MNM_HD inline float float_of_bits(std::uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
MNM_HD inline std::uint32_t bits_of_float(float x) {
  std::uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

MNM_HD inline float to_float(float x) { return x; }
MNM_HD inline float to_float(Bf16 x) { return float_of_bits(std::uint32_t{x.bits} << 16); }
MNM_HD inline float to_float(F16 x) {
#ifdef __CUDA_ARCH__
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.bits));
  return f;
#else
  // The exponent's bias moves from 15 to 127; the product does so for subnormal numbers as well.
  const std::uint32_t magnitude = x.bits & 0x7fffu, sign = (x.bits & 0x8000u) << 16;
  if (magnitude >= 0x7c00u) return float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  const float scaled = float_of_bits(magnitude << 13) * 0x1p112f;
  return float_of_bits(sign | bits_of_float(scaled));
#endif
}

// Rounded to nearest, ties to even; NaN stays NaN.
template <typename T>
MNM_HD T from_float(float x);
template <>
MNM_HD inline float from_float<float>(float x) {
  return x;
}
template <>
MNM_HD inline Bf16 from_float<Bf16>(float x) {
  const std::uint32_t bits = bits_of_float(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fc0};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}
template <>
MNM_HD inline F16 from_float<F16>(float x) {
#ifdef __CUDA_ARCH__
  F16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
  return h;
#else
  const std::uint32_t bits = bits_of_float(x), magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const auto with_sign = [sign](std::uint32_t half) {
    return F16{static_cast<std::uint16_t>(sign | half)};
  };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00);
  if (magnitude >= 0x47800000u) return with_sign(0x7c00);  // 2^16; rounding may carry up to it
  if (magnitude < 0x38800000u) {  // below 2^-14: adding a number whose last place is 2^-24 rounds
    return with_sign(bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f));
  }
  return with_sign((magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13);
#endif
}

// How many elements a thread takes at once. With two bytes each, this is one access of 16 bytes.
constexpr int kTogether = 8;

MNM_HD inline std::int64_t groups_of(std::int64_t elements) {  // of a row
  return (elements + kTogether - 1) / kTogether;
}

// Whether rows that start at p and lie `stride` elements apart can be read by accesses of 16 bytes.
template <typename T>
bool takes_vectors(const T* p, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0 &&
         stride * static_cast<std::int64_t>(sizeof(T)) % 16 == 0;
}

// The 16 bytes at an address for which takes_vectors is true, whatever they hold.
struct __attribute__((aligned(16), may_alias)) Vector16 {
  std::uint32_t words[4];
};

// out[i] = p[i] for i < n, and `rest` from n on. `vectors`: by accesses of 16 bytes, if n is
// kTogether.
template <typename T>
MNM_HD inline void load(const T* p, int n, bool vectors, float rest, float (&out)[kTogether]) {
  if (vectors && n == kTogether) {
    constexpr int kEach = 16 / sizeof(T);
    for (int begin = 0; begin < kTogether; begin += kEach) {
      const Vector16 vector = *reinterpret_cast<const Vector16*>(p + begin);
      T each[kEach];
      memcpy(each, &vector, sizeof vector);
      for (int i = 0; i < kEach; ++i) out[begin + i] = to_float(each[i]);
    }
    return;
  }
  for (int i = 0; i < kTogether; ++i) out[i] = i < n ? to_float(p[i]) : rest;
}

// p[i] = in[i] for i < n, in the same way.
template <typename T>
MNM_HD inline void store(const float (&in)[kTogether], int n, bool vectors, T* p) {
  if (vectors && n == kTogether) {
    constexpr int kEach = 16 / sizeof(T);
    for (int begin = 0; begin < kTogether; begin += kEach) {
      T each[kEach];
      for (int i = 0; i < kEach; ++i) each[i] = from_float<T>(in[begin + i]);
      Vector16 vector;
      memcpy(&vector, each, sizeof vector);
      *reinterpret_cast<Vector16*>(p + begin) = vector;
    }
    return;
  }
  for (int i = 0; i < kTogether; ++i) {
    if (i < n) p[i] = from_float<T>(in[i]);
  }
}

// Calls use(T{}) with the type that `element` names.
template <typename Use>
auto with_element(Element element, const Use& use) {
  switch (element) {
    case Element::kBF16:
      return use(Bf16{});
    case Element::kF16:
      return use(F16{});
    case Element::kF32:
      break;
  }
  return use(float{});
}

}  // namespace mnm
