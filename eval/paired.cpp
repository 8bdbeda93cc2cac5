#include "eval/paired.h"

#include <cstddef>
#include <vector>

#include "base/error.h"

namespace mnm {

Estimate paired_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) {
    fail_usage(
        "cannot compare losses of {} sequences with losses of {}, pairs need the same sequences in "
        "the same order",
        a.size(), b.size());
  }
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    differences[i] = static_cast<double>(a[i]) - static_cast<double>(b[i]);
  }
  return mean_of(differences);
}

}  // namespace mnm
