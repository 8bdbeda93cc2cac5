#include "eval/standard_error.h"

#include <cmath>
#include <cstddef>
#include <limits>

namespace mnm {
namespace {

// Two passes in double: the spread of losses is far smaller than the losses.
template <typename Value>
Estimate estimate(std::span<const Value> values) {
  const std::size_t n = values.size();
  Estimate result;
  result.samples = static_cast<std::int64_t>(n);
  result.standard_error = std::numeric_limits<double>::quiet_NaN();
  if (n == 0) {
    result.value = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const double count = static_cast<double>(n);
  double sum = 0;
  for (const Value value : values) sum += static_cast<double>(value);
  result.value = sum / count;
  if (n < 2) return result;
  double squares = 0;
  for (const Value value : values) {
    const double off = static_cast<double>(value) - result.value;
    squares += off * off;
  }
  result.standard_error = std::sqrt(squares / (count - 1) / count);
  return result;
}

}  // namespace

Estimate mean_of(std::span<const float> per_sequence) { return estimate(per_sequence); }

Estimate mean_of(std::span<const double> per_sequence) { return estimate(per_sequence); }

}  // namespace mnm
