// How the work of a plan is divided among walks and batches of sequences. Plain data.
#pragma once

#include <cstdint>

#include "eval/tiling.h"

namespace mnm {

// On the CPU each thread walks batches of its own. The alternative, in which operators fork and
// join at every layer, waits for the slowest thread at every layer; on a busy machine this took ten
// times as long. With fewer sequences than threads, all threads share one walk.
struct Division {
  Tiling tiling;
  int workers = 1;
  std::int64_t batches = 1;  // of nearly the same size; as many for every worker

  std::uint64_t bytes() const { return tiling.bytes * static_cast<std::uint64_t>(workers); }
};

// Pure. options.memory is for all workers together. Error as in tile().
Division divide(const PrefixTree& plan, const NestedModel& model, TilingOptions options,
                int threads);

}  // namespace mnm
