#include "kernels/few_rows.h"

#include <cstddef>
#include <vector>

#include "kernels/tile.h"

namespace mnm {
namespace {

typedef std::uint32_t Bits32 __attribute__((vector_size(32), aligned(4), may_alias));
constexpr std::int64_t kStep = 2 * kLanes;  // elements of a row that are read at once

// kStep weights in two halves. Those of bf16 lie in pairs in words of 32 bits: one half has the
// first of each pair and the other the second, so that widening is a shift and a mask. (A vector
// that is returned would depend on which registers a machine has.)
MNM_INLINE void widen(const float* w, Lanes& first, Lanes& second) {
  first = lanes(w);
  second = lanes(w + kLanes);
}
MNM_INLINE void widen(const Bf16* w, Lanes& first, Lanes& second) {
  const Bits32 stored = *reinterpret_cast<const Bits32*>(w);
  first = reinterpret_cast<Lanes>(stored << 16);
  second = reinterpret_cast<Lanes>(stored & 0xffff0000u);
}

// x as widen() halves the weights: of each kStep elements first those at even places.
MNM_INLINE void halve_pairs(const FewRows& p, float* to) {
  for (std::int64_t r = 0; r < p.rows; ++r, to += p.depth) {
    const float* const x = p.x + r * p.x_stride;
    std::int64_t k = 0;
    for (; k + kStep <= p.depth; k += kStep) {
      for (std::int64_t i = 0; i < kLanes; ++i) {
        to[k + i] = x[k + 2 * i];
        to[k + kLanes + i] = x[k + 2 * i + 1];
      }
    }
    for (; k < p.depth; ++k) to[k] = x[k];
  }
}

// Asks for the next kColumns rows of w, at the place where these are read. The processor's own
// prefetching starts anew on every page of memory, and a row is often no longer than that.
template <int kColumns, typename W>
MNM_INLINE void prefetch_next(const W* w, std::int64_t stride) {
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) __builtin_prefetch(w + (kColumns + c) * stride, 0, 2);
}

// out[r, c] for kRows rows of x and kColumns rows of w, whose sums stay in registers.
template <int kRows, int kColumns, typename W>
MNM_INLINE void tile(const FewRows& p, std::int64_t row, std::int64_t column) {
  const float* const x = p.x + row * p.x_stride;
  const W* const w = static_cast<const W*>(p.w) + column * p.w_stride;
  Lanes sum[kRows][kColumns] = {};
  std::int64_t k = 0;
  constexpr std::int64_t kLine = 64 / sizeof(W);  // elements of a line of the cache
  for (; k + kStep <= p.depth; k += kStep) {
    if (kRows == 1 && k % kLine == 0) prefetch_next<kColumns>(w + k, p.w_stride);
    Lanes first[kColumns], second[kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) widen(w + c * p.w_stride + k, first[c], second[c]);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const float* const in = x + r * p.x_stride + k;
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) sum[r][c] += lanes(in) * first[c];
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) sum[r][c] += lanes(in + kLanes) * second[c];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      float total = 0;
      for (std::int64_t i = 0; i < kLanes; ++i) total += sum[r][c][i];
      for (std::int64_t i = k; i < p.depth; ++i) {
        total += x[r * p.x_stride + i] * to_float(w[c * p.w_stride + i]);
      }
      float& to = p.out[(row + r) * p.out_stride + column + c];
      to = p.add ? to + total : total;
    }
  }
}

// All rows with the weights [column, column + kColumns).
template <int kColumns, typename W>
MNM_INLINE void all_rows(const FewRows& p, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + 4 <= p.rows; row += 4) tile<4, kColumns, W>(p, row, column);
  switch (p.rows - row) {
    case 3:
      return tile<3, kColumns, W>(p, row, column);
    case 2:
      return tile<2, kColumns, W>(p, row, column);
    case 1:
      return tile<1, kColumns, W>(p, row, column);
    default:
      return;
  }
}

template <typename W>
MNM_INLINE void of_type(const FewRows& p) {
  std::int64_t column = 0;
  if (p.rows == 1) {  // as many sums at once as with more rows
    // Rows of more than a few pages: so many at once do not stay in the cache's sets.
    constexpr std::int64_t kLongRow = 16384 / sizeof(W);
    constexpr int kFew = 8 / sizeof(W);
    if (p.depth >= kLongRow) {
      for (; column + kFew <= p.columns; column += kFew) tile<1, kFew, W>(p, 0, column);
    }
    for (; column + 8 <= p.columns; column += 8) tile<1, 8, W>(p, 0, column);
  }
  for (; column + 3 <= p.columns; column += 3) all_rows<3, W>(p, column);
  for (; column < p.columns; ++column) all_rows<1, W>(p, column);
}

MNM_INLINE void few_rows_body(const FewRows& p) {
  if (p.element == Element::kF32) return of_type<float>(p);
  thread_local std::vector<float> halved;
  halved.resize(static_cast<std::size_t>(p.rows * p.depth));
  halve_pairs(p, halved.data());
  FewRows in_halves = p;
  in_halves.x = halved.data();
  in_halves.x_stride = p.depth;
  of_type<Bf16>(in_halves);
}

}  // namespace

MNM_KERNEL(few_rows, (const FewRows& product), (product))

}  // namespace mnm
