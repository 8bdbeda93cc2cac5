#include "model/slice_plan.h"

#include <cassert>

#include "model/shapes.h"

namespace mnm {
namespace {

// The ranges that the pieces keep at `width`: empty ones dropped, adjacent ones merged.
std::vector<Range> kept_ranges(const TensorSpec& spec, Width width) {
  std::vector<Range> ranges;
  for (const Piece& piece : spec.pieces) {
    const Range range{piece.begin, piece.begin + piece.length(width)};
    assert(range.begin >= 0 && range.begin <= range.end);
    assert(ranges.empty() || ranges.back().end <= range.begin);
    if (range.begin == range.end) continue;
    if (!ranges.empty() && ranges.back().end == range.begin) {
      ranges.back().end = range.end;
    } else {
      ranges.push_back(range);
    }
  }
  assert(ranges.empty() || ranges.back().end <= spec.shape[static_cast<std::size_t>(spec.cut_dim)]);
  return ranges;
}

TensorSlice slice(const TensorSpec& spec, Width width) {
  TensorSlice result{&spec, -1, {}, spec.shape};
  if (spec.cut_dim < 0) return result;
  const auto dim = static_cast<std::size_t>(spec.cut_dim);
  assert(dim < spec.shape.size());
  std::vector<Range> ranges = kept_ranges(spec, width);
  if (ranges == std::vector<Range>{{0, spec.shape[dim]}}) return result;
  result.shape[dim] = 0;
  for (const Range& range : ranges) result.shape[dim] += range.end - range.begin;
  result.dim = spec.cut_dim;
  result.ranges = std::move(ranges);
  return result;
}

}  // namespace

std::int64_t TensorSlice::elements() const { return element_count(shape); }

SlicePlan plan_slices(const TensorTable& table, const Widths& widths) {
  SlicePlan plan{widths, {}};
  plan.tensors.reserve(table.tensors.size());
  for (const TensorSpec& spec : table.tensors) {
    if (spec.layer < 0) {
      assert(spec.cut_dim < 0);
      plan.tensors.push_back(slice(spec, 0));
      continue;
    }
    const Width width = widths.at(static_cast<std::size_t>(spec.layer));
    if (width != kSkip) plan.tensors.push_back(slice(spec, width));
  }
  return plan;
}

}  // namespace mnm
