// Small products in cache, for kernels: rows of a times rows of v, added to rows of out.
#pragma once

#include <cstdint>

#include "kernels/vector.h"

namespace mnm {

// Eight floats at any address. On machines without such registers the compiler splits them.
typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));
constexpr std::int64_t kLanes = 8;
constexpr std::int64_t kTileRows = 4;  // with two columns of lanes, eight accumulators, which fit
                                       // 16 registers
constexpr std::int64_t kTileColumns = 2 * kLanes;

constexpr std::int64_t padded(std::int64_t n) {
  return (n + kTileColumns - 1) / kTileColumns * kTileColumns;
}

MNM_INLINE Lanes& lanes(float* x) { return *reinterpret_cast<Lanes*>(x); }
MNM_INLINE const Lanes& lanes(const float* x) { return *reinterpret_cast<const Lanes*>(x); }

// A matrix with any strides: element (r, k) is at[r * row + k * column].
struct Strided {
  const float* at;
  std::int64_t row, column;
};

enum class Triangle : std::uint8_t {
  kAll,
  kLower,  // (r, k) is zero for k > r; what is stored there up to the next tile must be zero
  kUpper,  // (r, k) is zero for k < r, with the same condition
};

// out[r, c] += sum_k a(r, k) v[k, c] for r < rows, k < depth, c < columns; columns is a multiple of
// kTileColumns.
MNM_INLINE void add_product(Strided a, Triangle part, std::int64_t rows, std::int64_t depth,
                            const float* v, std::int64_t v_stride, std::int64_t columns, float* out,
                            std::int64_t out_stride) {
  for (std::int64_t r = 0; r < rows; r += kTileRows) {
    const std::int64_t n = rows - r < kTileRows ? rows - r : kTileRows;
    const float* row[kTileRows];  // the last ones stand in for rows past the end
    for (std::int64_t i = 0; i < kTileRows; ++i) row[i] = a.at + (r + (i < n ? i : n - 1)) * a.row;
    const std::int64_t begin = part == Triangle::kUpper ? r : 0;
    const std::int64_t end =
        part == Triangle::kLower && r + kTileRows < depth ? r + kTileRows : depth;
    for (std::int64_t c = 0; c < columns; c += kTileColumns) {
      Lanes sum[kTileRows][2] = {};
      for (std::int64_t k = begin; k < end; ++k) {
        const Lanes v0 = lanes(v + k * v_stride + c), v1 = lanes(v + k * v_stride + c + kLanes);
#pragma GCC unroll 4
        for (std::int64_t i = 0; i < kTileRows; ++i) {
          sum[i][0] += row[i][k * a.column] * v0;
          sum[i][1] += row[i][k * a.column] * v1;
        }
      }
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < kTileRows; ++i) {
        if (i >= n) continue;
        float* const to = out + (r + i) * out_stride + c;
        lanes(to) += sum[i][0];
        lanes(to + kLanes) += sum[i][1];
      }
    }
  }
}

// to[r, c] = from[r, c] for c < columns, zero up to the padded number of columns.
MNM_INLINE void pack(const float* from, std::int64_t stride, std::int64_t rows,
                     std::int64_t columns, float* to) {
  const std::int64_t width = padded(columns);
  for (std::int64_t r = 0; r < rows; ++r, from += stride, to += width) {
    for (std::int64_t c = 0; c < columns; ++c) to[c] = from[c];
    for (std::int64_t c = columns; c < width; ++c) to[c] = 0;
  }
}

// to[c, r] = from[r, c], rows of `width` floats, zero from `rows` on.
MNM_INLINE void pack_transposed(const float* from, std::int64_t stride, std::int64_t rows,
                                std::int64_t columns, std::int64_t width, float* to) {
  for (std::int64_t c = 0; c < columns; ++c, to += width) {
    for (std::int64_t r = 0; r < rows; ++r) to[r] = from[r * stride + c];
    for (std::int64_t r = rows; r < width; ++r) to[r] = 0;
  }
}

MNM_INLINE float dot(const float* a, const float* b, std::int64_t n) {  // n a multiple of kLanes
  Lanes sum = {};
  for (std::int64_t i = 0; i < n; i += kLanes) sum += lanes(a + i) * lanes(b + i);
  float total = 0;
  for (std::int64_t i = 0; i < kLanes; ++i) total += sum[i];
  return total;
}

}  // namespace mnm
