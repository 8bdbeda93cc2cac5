#include "kernels/nearest.h"

#include <algorithm>

namespace mnm {
namespace {

constexpr std::int64_t kLanes = 32;  // scores that are compared with the limit at once

// `score` is larger than the last of the best.
void insert(float score, std::int32_t id, std::int64_t keep, float* best, std::int32_t* ids) {
  std::int64_t at = keep - 1;
  for (; at > 0 && best[at - 1] < score; --at) {
    best[at] = best[at - 1];
    ids[at] = ids[at - 1];
  }
  best[at] = score;
  ids[at] = id;
}

}  // namespace

void keep_nearest(const NearestBlock& block, const float* scores, float* best, std::int32_t* ids) {
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const float* const score = scores + row * block.stride;
    float* const own = best + row * block.keep;
    std::int32_t* const own_ids = ids + row * block.keep;
    for (std::int64_t begin = 0; begin < block.columns; begin += kLanes) {
      const std::int64_t end = std::min(begin + kLanes, block.columns);
      const float limit = own[block.keep - 1];
      int above = 0;
      for (std::int64_t c = begin; c < end; ++c) above |= score[c] > limit ? 1 : 0;
      if (above == 0) continue;
      for (std::int64_t c = begin; c < end; ++c) {
        if (!(score[c] > own[block.keep - 1])) continue;
        insert(score[c], block.first + static_cast<std::int32_t>(c), block.keep, own, own_ids);
      }
    }
  }
}

}  // namespace mnm
