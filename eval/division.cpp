#include "eval/division.h"

#include <algorithm>

#include "base/error.h"

namespace mnm {

Division divide(const PrefixTree& plan, const NestedModel& model, TilingOptions options,
                int threads) {
  const std::uint64_t memory = options.memory;
  const std::int64_t sequences = options.sequences;
  Division division;
  division.workers = sequences >= threads ? threads : 1;
  for (;; division.workers /= 2) {
    const int workers = division.workers;
    options.memory = memory / static_cast<std::uint64_t>(workers);
    options.sequences = (sequences + workers - 1) / workers;
    if (workers == 1 && threads > 1) options.rows = std::max<std::int64_t>(1024, 512 * threads);
    try {
      division.tiling = tile(plan, model, options);
      break;
    } catch (const Error&) {  // the memory is enough for fewer walks at once, if for any
      if (workers == 1) throw;
    }
  }
  const std::int64_t least =
      (sequences + division.tiling.sequences - 1) / division.tiling.sequences;
  const std::int64_t rounds = (least + division.workers - 1) / division.workers;
  division.batches = std::min(sequences, rounds * division.workers);
  return division;
}

}  // namespace mnm
