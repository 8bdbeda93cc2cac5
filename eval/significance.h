// What an estimate proves: tail probabilities of Student's t, and their correction where many are
// tested.
#pragma once

#include <span>
#include <vector>

#include "eval/standard_error.h"

namespace mnm {

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
