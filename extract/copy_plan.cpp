#include "extract/copy_plan.h"

#include <cassert>

#include "base/error.h"
#include "model/shapes.h"

namespace mnm {

TensorCopy plan_copy(const TensorSlice& slice, const StoredTensor& source) {
  const std::vector<std::int64_t>& shape = slice.spec->shape;
  if (source.shape != shape) {
    fail("cannot cut tensor '{}': it has the shape {}, its model expects {}", source.name,
         shape_text(source.shape), shape_text(shape));
  }
  TensorCopy copy;
  copy.source = &source;
  copy.offset = source.offset;
  copy.row_bytes = size_of(source.dtype);
  copy.rows = 1;
  const std::size_t cut = slice.dim < 0 ? 0 : static_cast<std::size_t>(slice.dim);
  for (std::size_t d = cut; d < shape.size(); ++d) {
    copy.row_bytes *= static_cast<std::uint64_t>(shape[d]);
  }
  for (std::size_t d = 0; d < cut; ++d) copy.rows *= static_cast<std::uint64_t>(shape[d]);

  if (source.block > 0) {
    if (slice.dim >= 0)
      fail("cannot cut tensor '{}': it is stored in the rows of another one", source.name);
    copy.rows = source.bytes() / source.block;
    copy.row_bytes = source.step;
    copy.kept.push_back({source.skipped, source.skipped + source.block});
  } else if (slice.dim < 0) {
    if (copy.row_bytes > 0) copy.kept.push_back({0, copy.row_bytes});
  } else if (shape[cut] > 0) {
    const std::uint64_t unit = copy.row_bytes / static_cast<std::uint64_t>(shape[cut]);
    for (const Range& range : slice.ranges) {
      assert(0 <= range.begin && range.begin <= range.end && range.end <= shape[cut]);
      const ByteRange bytes{unit * static_cast<std::uint64_t>(range.begin),
                            unit * static_cast<std::uint64_t>(range.end)};
      if (bytes.length() > 0) copy.kept.push_back(bytes);
    }
  }
  std::uint64_t per_row = 0;
  for (const ByteRange& range : copy.kept) per_row += range.length();
  copy.bytes = copy.rows * per_row;
  if (copy.bytes == 0) {
    copy.rows = 0;
    copy.kept.clear();
  } else if (per_row == copy.row_bytes) {  // all of every row: one run of bytes
    copy.row_bytes = copy.bytes;
    copy.rows = 1;
    copy.kept = {{0, copy.bytes}};
  }
  return copy;
}

}  // namespace mnm
