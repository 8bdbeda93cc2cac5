// The largest of many scores, block by block: an exact search for neighbours, whose scores are
// products that need not be kept.
#pragma once

#include <cstdint>

namespace mnm {

struct NearestBlock {
  std::int64_t rows = 0;     // queries
  std::int64_t columns = 0;  // candidates of this block
  std::int64_t stride = 0;   // floats from one row of scores to the next
  std::int32_t first = 0;    // the number of the block's first candidate
  std::int64_t keep = 0;     // how many of the best are kept for each row
};

// Takes the scores [rows, stride] of a block into the best ones so far: best [rows, keep],
// descending, and the numbers of their candidates, ids [rows, keep]. Before the first block best is
// -infinity and ids -1. Blocks come in ascending order of their candidates; of equal scores the one
// with the lowest number stays before the others. A score that is no number is never kept.
void keep_nearest(const NearestBlock& block, const float* scores, float* best, std::int32_t* ids);

}  // namespace mnm
