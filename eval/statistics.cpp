#include "eval/statistics.h"

#include <cmath>
#include <cstddef>
#include <limits>

#include "model/error.h"

namespace mnm {
namespace {

// Two passes in double: the spread of losses is far smaller than the losses.
template <typename At>
Estimate estimate(std::size_t n, At at) {
  Estimate result;
  result.samples = static_cast<std::int64_t>(n);
  result.standard_error = std::numeric_limits<double>::quiet_NaN();
  if (n == 0) {
    result.value = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const double count = static_cast<double>(n);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += at(i);
  result.value = sum / count;
  if (n < 2) return result;
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) squares += (at(i) - result.value) * (at(i) - result.value);
  result.standard_error = std::sqrt(squares / (count - 1) / count);
  return result;
}

}  // namespace

Estimate mean_of(std::span<const float> per_sequence) {
  return estimate(per_sequence.size(),
                  [&](std::size_t i) { return static_cast<double>(per_sequence[i]); });
}

Estimate paired_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) {
    fail_usage(
        "cannot compare losses of {} sequences with losses of {}, pairs need the same sequences in "
        "the same order",
        a.size(), b.size());
  }
  return estimate(a.size(), [&](std::size_t i) {
    return static_cast<double>(a[i]) - static_cast<double>(b[i]);
  });
}

}  // namespace mnm
