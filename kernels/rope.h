// Rotary position embedding (RoPE) of queries and keys, in place and in one pass. The parts marked
// MNM_HD are also a device's arithmetic (kernels/cuda/rope.h).
#pragma once

#include <cstdint>

#include "kernels/element.h"

namespace mnm {

// Row r is a token at position r % tokens of the tables. In every head, the elements i and half + i
// are turned by the angle i.
struct Rotary {
  Element element = Element::kF32;
  std::int64_t rows = 0, tokens = 0;
  std::int64_t heads = 0, half = 0;                 // half of a head's size
  void* x = nullptr;                                // [rows, heads, 2 * half]
  std::int64_t stride = 0;                          // elements from row to row
  const void *cosines = nullptr, *sines = nullptr;  // [tokens, half] each
};

void rotate(const Rotary& r);  // on the host

// ---- one thread's part: kTogether pairs of one head ----

MNM_HD inline std::int64_t groups_of(const Rotary& r) {
  return r.rows * r.heads * groups_of(r.half);
}

// Group `i` of groups_of(r).
template <typename T>
MNM_HD void rotate_group(const Rotary& r, bool vectors, std::int64_t i) {
  const std::int64_t groups = groups_of(r.half), at = i % groups * kTogether;
  const std::int64_t head = i / groups % r.heads, row = i / groups / r.heads;
  const int n = r.half - at < kTogether ? static_cast<int>(r.half - at) : kTogether;
  T* const first = static_cast<T*>(r.x) + row * r.stride + head * 2 * r.half + at;
  T* const second = first + r.half;
  const std::int64_t angle = row % r.tokens * r.half + at;
  float a[kTogether], b[kTogether], c[kTogether], s[kTogether];
  load(first, n, vectors, 0, a);
  load(second, n, vectors, 0, b);
  load(static_cast<const T*>(r.cosines) + angle, n, vectors, 0, c);
  load(static_cast<const T*>(r.sines) + angle, n, vectors, 0, s);
  for (int j = 0; j < kTogether; ++j) {
    const float x = a[j] * c[j] - b[j] * s[j];
    b[j] = b[j] * c[j] + a[j] * s[j];
    a[j] = x;
  }
  store(a, n, vectors, first);
  store(b, n, vectors, second);
}

}  // namespace mnm
