#include "search/portable_math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace mnm {
namespace {

constexpr double kLog2 = 0.693147180559945309417;
constexpr double kInverseRoot2Pi = 0.398942280401432677940;
constexpr std::uint64_t kMantissa = (std::uint64_t{1} << 52) - 1;

double power_of_two(int exponent) {  // normal ones
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

// E[max(0, -z - N)] for a standard normal N and z >= 0: phi(z) - z (1 - Phi(z)).
double tail_shortfall(double z) {
  const double density = kInverseRoot2Pi * portable_exp(-0.5 * z * z);
  if (z < 2.5) {
    // Phi(z) = 1/2 + phi(z) (z + z^3/3 + z^5/15 + ...).
    double term = z, sum = z;
    for (int n = 3; term > 1e-17 * sum; n += 2) {
      term *= z * z / n;
      sum += term;
    }
    return density - z * (0.5 - density * sum);
  }
  // Mills' ratio is 1 / (z + q), with q = 1 / (z + 2 / (z + 3 / (z + ...))): nothing cancels.
  double q = 0;
  for (int n = 60; n >= 1; --n) q = n / (z + q);
  return density * q / (z + q);
}

}  // namespace

double portable_exp(double x) {
  if (x < -708) return 0;
  const double k = std::floor(x / kLog2 + 0.5);
  // kLog2 in two parts, the first of which has few enough bits that its product with k is exact.
  const double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
  double sum = 1;
  for (int n = 14; n >= 1; --n) sum = 1 + r / n * sum;
  return sum * power_of_two(static_cast<int>(k));
}

double portable_log(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & kMantissa) | (std::uint64_t{1023} << 52));
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1);  // log m = 2 artanh s, |s| < 0.172
  double sum = 0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * s * s + 1.0 / n;
  return exponent * kLog2 + 2 * s * sum;
}

double portable_log2(double x) { return portable_log(x) / kLog2; }

double expected_shortfall(double threshold, double mean, double deviation) {
  const double gap = threshold - mean;
  if (!(deviation > 0)) return std::max(0.0, gap);
  const double z = gap / deviation;
  return z > 0 ? gap + deviation * tail_shortfall(z) : deviation * tail_shortfall(-z);
}

}  // namespace mnm
