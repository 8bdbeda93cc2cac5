// A tensor slice as one stream of bytes, whatever ranges of the file it consists of. Positions are
// bytes of the slice, 0 to copy.bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "extract/copy_plan.h"
#include "extract/slice_cursor.h"
#include "extract/source_file.h"

namespace mnm {

// Whether it is faster to read the file with the gaps between the slice's ranges.
bool reads_gaps(const TensorCopy& copy);

// Copies the bytes of the slice. Its buffer has a fixed size, whatever the size of the tensor.
// `file` and `copy` must outlive it.
class SliceReader {
 public:
  SliceReader(const SourceFile& file, const TensorCopy& copy);

  void seek(std::uint64_t position) { next_ = SliceCursor(copy_, position); }
  // Reads the next bytes: fills `into`, or reads what is left of the slice. Returns how many.
  std::size_t read(std::span<std::byte> into);

 private:
  void fetch(std::uint64_t offset, std::span<std::byte> into);

  const SourceFile& file_;
  const TensorCopy& copy_;
  const bool reads_gaps_;
  SliceCursor next_;
  std::uint64_t window_begin_ = 0;  // what window_ holds of the file, where rows are read whole
  std::vector<std::byte> window_;
};

// Gives views of the bytes of the slice in the kernel's page cache, for a caller that passes them
// back to the kernel. `file` and `copy` must outlive it.
class SliceView {
 public:
  // Whether the ranges of the slice are long enough to be worth the system calls.
  static bool suits(const TensorCopy& copy);

  SliceView(const SourceFile& file, const TensorCopy& copy);

  // The pieces of [begin, end), read and in order. They are valid until the next call. The file
  // must not shrink meanwhile: system calls would answer EFAULT for its pieces, and loads would
  // raise SIGBUS.
  std::span<const std::span<const std::byte>> pieces(std::uint64_t begin, std::uint64_t end);

 private:
  const SourceFile& file_;
  const TensorCopy& copy_;
  const bool reads_gaps_;
  std::optional<SourceFile::Window> window_;
  std::vector<std::span<const std::byte>> pieces_;
};

// Asks the kernel to begin reading [begin, end) of the slice. Returns at once.
void announce(const SourceFile& file, const TensorCopy& copy, std::uint64_t begin,
              std::uint64_t end);

}  // namespace mnm
