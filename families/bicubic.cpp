#include "families/bicubic.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mnm {
namespace {

// Keys, "Cubic convolution interpolation" (1981), with the slope `a` at distance 1.
double cubic(double distance, double a) {
  const double x = std::abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// The four points around each, with PyTorch's slope.
void interpolate(double middle, std::int64_t from, double* row) {
  const auto before = static_cast<std::int64_t>(std::floor(middle - 0.5));
  for (std::int64_t i = before - 1; i <= before + 2; ++i) {
    row[std::clamp<std::int64_t>(i, 0, from - 1)] +=
        cubic(middle - 0.5 - static_cast<double>(i), -0.75);
  }
}

// All points within two distances of the coarser grid, with the slope that Pillow has.
void smooth(double middle, double scale, std::int64_t from, double* row) {
  const double unit = std::max(scale, 1.0);
  const auto begin = std::max<std::int64_t>(static_cast<std::int64_t>(middle - 2 * unit + 0.5), 0);
  const auto end = std::min(static_cast<std::int64_t>(middle + 2 * unit + 0.5), from);
  for (std::int64_t i = begin; i < end; ++i) {
    row[i] = cubic((static_cast<double>(i) - middle + 0.5) / unit, -0.5);
  }
  const double sum = std::accumulate(row + begin, row + end, 0.0);
  for (std::int64_t i = begin; i < end; ++i) row[i] /= sum;
}

}  // namespace

std::vector<double> bicubic_matrix(std::int64_t from, std::int64_t to, bool antialias) {
  std::vector<double> matrix(static_cast<std::size_t>(from * to));
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (std::int64_t i = 0; i < to; ++i) {
    const double middle = scale * (static_cast<double>(i) + 0.5);
    double* const row = matrix.data() + i * from;
    if (antialias) {
      smooth(middle, scale, from, row);
    } else {
      interpolate(middle, from, row);
    }
  }
  return matrix;
}

}  // namespace mnm
