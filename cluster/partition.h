// Cuts candidates into parts, which are handed out to workers. Parts cost about the same and share
// no work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/nested_model.h"
#include "model/widths.h"

namespace mnm {

struct Part {
  std::vector<std::size_t> indices;  // of the candidates, ascending
  double flops = 0;                  // forward, per token, of the part's own plan
};

// Cuts the candidates into runs of neighbours in lexicographic order, which share prefixes. Each
// worker takes the largest part that is left whenever it is free. Few parts share more work, and
// many parts balance better. So several numbers of parts are tried, up to 16 per worker, and the
// cut whose last worker finishes first, by FLOPs, is taken. The parts are in descending order of
// FLOPs. `scored` is the share of positions that are read out. Pure.
std::vector<Part> partition(std::span<const Widths> candidates, const NestedModel& model,
                            std::int64_t context, double scored, int workers);

// When the last worker finishes, in FLOPs, if the workers take the parts in order.
double makespan(std::span<const Part> parts, int workers);

}  // namespace mnm
