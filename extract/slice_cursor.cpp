#include "extract/slice_cursor.h"

#include <cassert>

namespace mnm {

SliceCursor::SliceCursor(const TensorCopy& copy, std::uint64_t position) : copy_(&copy) {
  if (position >= copy.bytes) {
    row_ = copy.rows;
    return;
  }
  const std::uint64_t per_row = copy.bytes / copy.rows;
  row_ = position / per_row;
  in_range_ = position % per_row;
  while (in_range_ >= copy.kept[range_].length()) in_range_ -= copy.kept[range_++].length();
}

std::uint64_t SliceCursor::offset() const {
  assert(run() > 0);
  return copy_->offset + row_ * copy_->row_bytes + copy_->kept[range_].begin + in_range_;
}

std::uint64_t SliceCursor::run() const {
  return row_ == copy_->rows ? 0 : copy_->kept[range_].length() - in_range_;
}

void SliceCursor::advance(std::uint64_t n) {
  assert(n <= run());
  if (n == 0) return;
  in_range_ += n;
  if (in_range_ < copy_->kept[range_].length()) return;
  in_range_ = 0;
  if (++range_ < copy_->kept.size()) return;
  range_ = 0;
  ++row_;
}

}  // namespace mnm
