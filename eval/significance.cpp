#include "eval/significance.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace mnm {
namespace {

// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's
// method. Converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto nonzero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1, d = 1 / nonzero(1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m < 10'000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonzero(1 + even * d);
    c = nonzero(1 + even / c);
    fraction *= c * d;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonzero(1 + odd * d);
    c = nonzero(1 + odd / c);
    fraction *= c * d;
    if (std::abs(c * d - 1) < 1e-15) break;
  }
  return fraction;
}

// The regularised incomplete beta function I_x(a, b), for x and 1 - x, each given exactly.
double incomplete_beta(double a, double b, double x, double rest) {
  if (x <= 0) return 0;
  if (rest <= 0) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log(rest));
  return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                   : 1 - front * beta_fraction(b, a, rest) / b;
}

}  // namespace

double p_of_zero(const Estimate& estimate) {
  if (std::isnan(estimate.value) || std::isnan(estimate.standard_error)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (estimate.standard_error == 0) return estimate.value == 0 ? 1 : 0;
  const double freedom = static_cast<double>(estimate.samples - 1);
  const double t = estimate.value / estimate.standard_error;
  const double sum = freedom + t * t;
  if (std::isinf(sum)) return 0;
  return incomplete_beta(freedom / 2, 0.5, freedom / sum, t * t / sum);
}

double probability_below_zero(const Estimate& estimate) {
  const double tail = p_of_zero(estimate) / 2;
  return estimate.value < 0 ? 1 - tail : tail;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!std::isnan(p[i])) order.push_back(i);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p[i]; });
  std::vector<double> adjusted(p.size(), std::numeric_limits<double>::quiet_NaN());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double left = static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, left * p[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

}  // namespace mnm
