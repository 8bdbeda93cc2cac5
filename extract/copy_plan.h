// A tensor slice as ranges of bytes of the file that holds it. Plain data, computed before any byte
// is read.
#pragma once

#include <cstdint>
#include <vector>

#include "model/checkpoint.h"
#include "model/slice_plan.h"

namespace mnm {

struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // one past the last

  std::uint64_t length() const { return end - begin; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// The output is the kept ranges of every row, row by row. What a row is depends on the cut
// dimension d: it spans dimension d and all inner ones. So a prefix of a matrix's rows is one row
// with one range. A prefix of its columns is as many rows as the matrix has, each with that range.
struct TensorCopy {
  const StoredTensor* source = nullptr;
  std::uint64_t offset = 0;     // of the first row in the shard
  std::uint64_t rows = 0;       // 0 if nothing is kept, 1 if no row is repeated
  std::uint64_t row_bytes = 0;  // from one row to the next
  std::vector<ByteRange> kept;  // of each row: ascending, disjoint, none empty
  std::uint64_t bytes = 0;      // of the output, in the source's dtype
};

// Error if `source` does not have the shape that `slice` was planned for.
TensorCopy plan_copy(const TensorSlice& slice, const StoredTensor& source);

}  // namespace mnm
