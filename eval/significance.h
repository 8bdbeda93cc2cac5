// How sure an estimate is: probabilities by Student's t distribution, and their correction if many
// estimates are tested.
#pragma once

#include <span>
#include <vector>

#include "eval/standard_error.h"

namespace mnm {

// The probability that the true value lies below zero, if nothing but the estimate is known. It is
// Student's t with samples - 1 degrees of freedom, under the flat prior. 0.5 if value and error are
// 0; NaN if either is not a number.
double probability_below_zero(const Estimate& estimate);

// The two-sided p value of the t test that the true value is zero. It is exact for normal samples.
// 1 if value and error are 0; NaN if either is not a number.
double p_of_zero(const Estimate& estimate);

// Holm's correction (Scandinavian Journal of Statistics 6, 1979) of p values for their number. If
// everything with a corrected p of at most alpha is called a difference, the probability that any
// of these calls is wrong is at most alpha. The tests need not be independent. Bonferroni's
// correction finds no more, and assumes the same. NaN stands for what was not tested: it stays NaN
// and is not counted.
std::vector<double> holm(std::span<const double> p);

}  // namespace mnm
