// Means of per-sequence values, with their standard errors.
#pragma once

#include <cstdint>
#include <span>

namespace mnm {

struct Estimate {
  double value = 0;
  double standard_error = 0;  // NaN, unknown, where n < 2
  std::int64_t samples = 0;
};

// The mean of the values per sequence. Its standard error is the sample standard deviation over
// sqrt(n): sequences, not tokens, are the independent samples. All sequences have the same number
// of targets, so this is also the mean per token. The value is NaN if there is no sample, or if a
// sample is NaN.
Estimate mean_of(std::span<const float> per_sequence);
Estimate mean_of(std::span<const double> per_sequence);

}  // namespace mnm
