// Maxima and sums of exponentials of rows of numbers, in vectors. For use inside MNM_KERNEL bodies.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/vector.h"

namespace mnm {

constexpr std::int64_t kRowLanes = 32;              // accumulators: the loops are unrolled by them
constexpr std::int64_t kRowPiece = 64 * kRowLanes;  // words that one set of them adds up

MNM_INLINE float max_of(const float* x, std::int64_t n) {
  float lanes[kRowLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  std::int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) {
    for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[j] = larger(x[i + j], lanes[j]);
  }
  for (std::int64_t j = 0; i + j < n; ++j) lanes[j] = larger(x[i + j], lanes[j]);
  float max = lanes[0];
  for (float lane : lanes) max = larger(lane, max);
  return max;
}

MNM_INLINE float sum_of(const float (&lanes)[kRowLanes]) {
  float sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

// The sum of exp(x - max). Lanes add up pieces of the row. So rounding errors grow with the square
// root of the size of the vocabulary, and not with the size.
MNM_INLINE double exp_sum(const float* x, std::int64_t n, float max) {
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kRowPiece) {
    const std::int64_t end = begin + kRowPiece < n ? begin + kRowPiece : n;
    float lanes[kRowLanes] = {};
    std::int64_t i = begin;
    for (; i + kRowLanes <= end; i += kRowLanes) {
      for (std::int64_t j = 0; j < kRowLanes; ++j) lanes[j] += exp_of(x[i + j] - max);
    }
    for (std::int64_t j = 0; i + j < end; ++j) lanes[j] += exp_of(x[i + j] - max);
    total += static_cast<double>(sum_of(lanes));
  }
  return total;
}

}  // namespace mnm
