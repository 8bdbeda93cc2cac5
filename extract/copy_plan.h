// A tensor slice as bytes of the file that holds it: plain data, computed before any byte is read.
#pragma once

#include <cstdint>
#include <vector>

#include "model/checkpoint.h"
#include "model/slice_plan.h"

namespace mnm {

// `count` runs of `length` bytes, the first at `offset` in the shard, each `stride` after the last.
// A prefix of rows is one run; a prefix of columns is one run per row.
struct StridedRuns {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t stride = 0;
  std::uint64_t count = 1;
};

// In the order of the output's bytes, except that several ranges of a column cut interleave: then
// runs lists one StridedRuns per range with count 1 per row.
struct TensorCopy {
  const StoredTensor* source = nullptr;
  std::vector<StridedRuns> runs;
  std::uint64_t bytes = 0;  // of the output, in the source's dtype
};

TensorCopy plan_copy(const TensorSlice& slice, const StoredTensor& source);

}  // namespace mnm
