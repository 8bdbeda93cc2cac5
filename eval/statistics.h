// Means, standard errors and paired differences of per-sequence losses.
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

// mean(a - b), with the standard error of the differences. Both must be of the same sequences in
// the same order. UsageError if the sizes differ.
Estimate paired_difference(std::span<const float> a, std::span<const float> b);

}  // namespace mnm
