// Whether tokens are drawn from known probabilities.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "tests/generate/table_sequences.h"

namespace mnm::test {

// Pearson's chi-squared of the counts of pairs of neighbours. known[a][b]: the probability of b
// after a at temperature 1. With three tokens, each of the 3 rows has 2 degrees of freedom;
// together 6, whose 99.99 % point is 27.9.
inline double chi_squared_of_pairs(const Tokens& tokens,
                                   const std::vector<std::vector<double>>& known,
                                   double temperature) {
  std::map<std::pair<std::size_t, std::size_t>, double> pairs;
  std::map<std::size_t, double> firsts;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    const auto a = static_cast<std::size_t>(tokens[i]), b = static_cast<std::size_t>(tokens[i + 1]);
    ++pairs[{a, b}];
    ++firsts[a];
  }
  double chi = 0;
  for (std::size_t a = 0; a < known.size(); ++a) {
    std::vector<double> p = known[a];
    double sum = 0;
    for (double& x : p) sum += x = std::pow(x, 1 / temperature);
    for (std::size_t b = 0; b < p.size(); ++b) {
      const double expected = firsts[a] * p[b] / sum;
      EXPECT_GT(expected, 5);
      chi += std::pow(pairs[{a, b}] - expected, 2) / expected;
    }
  }
  return chi;
}

}  // namespace mnm::test
