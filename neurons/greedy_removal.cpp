#include "neurons/greedy_removal.h"

#include <cmath>
#include <limits>

namespace mnm {
namespace {

// The entries of `removal` summed over the channels of each pair of neurons: [n * n].
std::vector<float> by_neuron(std::span<const float> removal, std::size_t n, std::size_t each) {
  std::vector<float> sums(n * n, 0);
  std::vector<double> row(n);
  for (std::size_t i = 0; i < n; ++i) {
    row.assign(n, 0);
    for (std::size_t a = i * each; a < (i + 1) * each; ++a) {
      for (std::size_t b = 0; b < n * each; ++b) row[b / each] += removal[a * n * each + b];
    }
    for (std::size_t j = 0; j < n; ++j) sums[i * n + j] = static_cast<float>(row[j]);
  }
  return sums;
}

}  // namespace

std::vector<std::int32_t> greedy_removal(std::span<const float> removal, std::int64_t each) {
  const auto channels =
      static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(removal.size()))));
  const auto group = static_cast<std::size_t>(each);
  const std::size_t n = channels / group;
  std::vector<float> sums;
  if (group > 1) {
    sums = by_neuron(removal, n, group);
    removal = sums;
  }
  // What leaving out a neuron would add now: its own entry, and twice those that it shares with the
  // neurons that are out.
  std::vector<double> growth(n);
  std::vector<std::int32_t> left(n);
  for (std::size_t i = 0; i < n; ++i) {
    growth[i] = removal[i * n + i];
    left[i] = static_cast<std::int32_t>(i);
  }
  std::vector<std::int32_t> gone;
  while (!left.empty()) {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < left.size(); ++k) {
      const double grows = growth[static_cast<std::size_t>(left[k])];
      if (grows <= least) {
        least = grows;
        best = k;
      }
    }
    const std::int32_t neuron = left[best];
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best));
    gone.push_back(neuron);
    const std::span<const float> shared = removal.subspan(static_cast<std::size_t>(neuron) * n, n);
    for (const std::int32_t other : left) {
      growth[static_cast<std::size_t>(other)] += 2.0 * shared[static_cast<std::size_t>(other)];
    }
  }
  return gone;
}

}  // namespace mnm
