// Means, standard errors and paired differences of per-sequence losses, and what they prove.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

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

// How likely it is that the true value lies below zero, given the estimate and nothing else:
// Student's t with samples - 1 degrees of freedom, under the flat prior. 0.5 where value and error
// are 0; NaN where either is not a number.
double probability_below_zero(const Estimate& estimate);

// The two-sided p of the t test that the true value is zero: of normal samples exactly. NaN as
// above, and 1 where value and error are 0.
double p_of_zero(const Estimate& estimate);

// Holm's correction (Scandinavian Journal of Statistics 6, 1979): each p, adjusted for how many
// there are. Those at most alpha are wrong in any of them with a probability of at most alpha,
// however the tests hang together. It rejects whatever Bonferroni's rejects, and needs nothing
// more. NaN was not tested: it stays NaN and is not counted.
std::vector<double> holm(std::span<const double> p);

}  // namespace mnm
