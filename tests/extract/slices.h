// Tensor slices made by hand, and the obvious way to take one, which judges the fast one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/slice_plan.h"
#include "tests/support/tensors.h"

namespace mnm::test {

// The spec and slice of `tensor` with `ranges` kept of dimension `dim` (-1: all is kept). Holds
// what the slice points to.
struct HandSlice {
  TensorSpec spec;
  TensorSlice slice;

  HandSlice(const TestTensor& tensor, int dim, std::vector<Range> ranges) {
    spec.name = tensor.name;
    spec.shape = tensor.shape;
    slice.dim = dim;
    slice.shape = tensor.shape;
    if (dim >= 0) {
      std::int64_t kept = 0;
      for (const Range& range : ranges) kept += range.end - range.begin;
      slice.shape[static_cast<std::size_t>(dim)] = kept;
    }
    slice.ranges = std::move(ranges);
    slice.spec = &spec;
  }
  HandSlice(const HandSlice&) = delete;
  HandSlice& operator=(const HandSlice&) = delete;
};

// Element by element: the coordinate along `dim` decides.
inline std::vector<float> naive_slice(const TestTensor& tensor, const TensorSlice& slice) {
  std::vector<float> kept;
  for (std::size_t i = 0; i < tensor.values.size(); ++i) {
    bool keep = slice.dim < 0;
    if (!keep) {
      std::size_t inner = 1;
      const auto dim = static_cast<std::size_t>(slice.dim);
      for (std::size_t d = dim + 1; d < tensor.shape.size(); ++d) {
        inner *= static_cast<std::size_t>(tensor.shape[d]);
      }
      const auto at = static_cast<std::int64_t>(i / inner) % tensor.shape[dim];
      keep = std::ranges::any_of(slice.ranges,
                                 [&](const Range& r) { return r.begin <= at && at < r.end; });
    }
    if (keep) kept.push_back(tensor.values[i]);
  }
  return kept;
}

// Up to `most` disjoint ranges of [0, size), none empty, none adjacent.
inline std::vector<Range> random_ranges(std::int64_t size, std::size_t most, std::mt19937& random) {
  std::vector<std::int64_t> cuts;
  for (std::size_t i = 0; i < 2 * most; ++i) {
    cuts.push_back(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(size + 1)));
  }
  std::ranges::sort(cuts);
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<Range> ranges;
  for (std::size_t i = 0; i + 1 < cuts.size(); i += 2) ranges.push_back({cuts[i], cuts[i + 1]});
  return ranges;
}

}  // namespace mnm::test
