// Candidates in parts that cost alike and share nothing with each other: what is handed out.
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

// Runs of neighbours in lexicographic order, which share prefixes, for `workers` that take the
// largest part that is left whenever they are free. Few parts share more, many balance better: of
// the ways to cut that were tried (at most 16 parts a worker) the one whose last worker is done
// first, by FLOPs. Largest first. Pure; `scored`: the share of positions that are read out.
std::vector<Part> partition(std::span<const Widths> candidates, const NestedModel& model,
                            std::int64_t context, double scored, int workers);

// When the last of `workers` is done that take the parts in order: in the parts' FLOPs.
double makespan(std::span<const Part> parts, int workers);

}  // namespace mnm
