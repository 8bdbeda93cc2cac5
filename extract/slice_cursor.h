// Where the bytes of a slice lie in the file, one run after another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "extract/copy_plan.h"

namespace mnm {

// A place in a slice, in bytes of the slice from 0 to copy.bytes. `copy` must outlive the cursor.
class SliceCursor {
 public:
  explicit SliceCursor(const TensorCopy& copy, std::uint64_t position = 0);

  std::uint64_t offset() const;   // of this byte in the file; where run() > 0
  std::uint64_t run() const;      // bytes that lie together from here on; 0 at the end
  void advance(std::uint64_t n);  // by at most run()

 private:
  const TensorCopy* copy_;
  std::uint64_t row_ = 0;
  std::size_t range_ = 0;
  std::uint64_t in_range_ = 0;
};

}  // namespace mnm
