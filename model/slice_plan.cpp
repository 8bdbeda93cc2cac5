#include "model/slice_plan.h"

#include <algorithm>
#include <cassert>

#include "model/shapes.h"

namespace mnm {
namespace {

// The ranges that the pieces keep: empty ones dropped, adjacent ones merged. width(layer) is asked
// for pieces that have a layer.
template <typename WidthOf>
std::vector<Range> ranges_of(const TensorSpec& spec, const WidthOf& width_of) {
  std::vector<Range> ranges;
  for (const Piece& piece : spec.pieces) {
    assert(piece.layer < 0 || spec.layer < 0);
    const int layer = spec.layer_of(piece);
    const Width width = layer < 0 ? kSkip : width_of(layer);
    if (layer >= 0 && width == kSkip) continue;
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

TensorSlice slice(const TensorSpec& spec, const Widths& widths) {
  TensorSlice result{&spec, spec.name, -1, {}, spec.shape};
  if (spec.cut_dim < 0) return result;
  const auto dim = static_cast<std::size_t>(spec.cut_dim);
  assert(dim < spec.shape.size());
  std::vector<Range> ranges =
      ranges_of(spec, [&](int layer) { return widths.at(static_cast<std::size_t>(layer)); });
  if (ranges == std::vector<Range>{{0, spec.shape[dim]}}) return result;
  result.shape[dim] = 0;
  for (const Range& range : ranges) result.shape[dim] += range.end - range.begin;
  result.dim = spec.cut_dim;
  result.ranges = std::move(ranges);
  return result;
}

}  // namespace

std::int64_t TensorSlice::elements() const { return element_count(shape); }

const TensorSlice* SlicePlan::find(std::string_view name) const {
  const auto found = std::ranges::find(
      tensors, name, [](const TensorSlice& slice) -> std::string_view { return slice.spec->name; });
  return found == tensors.end() ? nullptr : &*found;
}

std::vector<Range> kept_ranges(const TensorSpec& spec, Width width) {
  return ranges_of(spec, [width](int) { return width; });
}

SlicePlan plan_slices(const TensorTable& table, const Widths& widths) {
  SlicePlan plan{widths, {}};
  std::vector<int> numbers;  // [layers], in the submodel
  int kept = 0;
  for (const Width width : widths) numbers.push_back(width == kSkip ? -1 : kept++);
  plan.tensors.reserve(table.tensors.size());
  for (const TensorSpec& spec : table.tensors) {
    if (spec.nested_only) continue;
    const int number = spec.layer < 0 ? -1 : numbers.at(static_cast<std::size_t>(spec.layer));
    if (spec.layer >= 0 && number < 0) continue;
    TensorSlice& tensor = plan.tensors.emplace_back(slice(spec, widths));
    if (spec.layer >= 0) tensor.name = spec.name_at(number);
  }
  return plan;
}

}  // namespace mnm
