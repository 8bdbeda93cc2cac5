// A tensor slice as one stream of bytes, whatever ranges of the file it is made of. Positions are
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

// Whether the file is best read with the gaps between the slice's ranges.
bool reads_gaps(const TensorCopy& copy);

// Copies the slice's bytes. Holds a fixed buffer, whatever the tensor's size. `file` and `copy`
// must outlive it.
class SliceReader {
 public:
  SliceReader(const SourceFile& file, const TensorCopy& copy);

  void seek(std::uint64_t position) { next_ = SliceCursor(copy_, position); }
  // The next bytes: fills `into`, or what is left of the slice. Returns how many.
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

// Shows the slice's bytes where the kernel has them: for who hands them back to it. `file` and
// `copy` must outlive it.
class SliceView {
 public:
  // Whether the slice's ranges are long enough for that to be worth its system calls.
  static bool suits(const TensorCopy& copy);

  SliceView(const SourceFile& file, const TensorCopy& copy);

  // The pieces that [begin, end) is made of, read and in order; until the next call. The file must
  // not shrink meanwhile: system calls then answer EFAULT for its pieces, and loads SIGBUS.
  std::span<const std::span<const std::byte>> pieces(std::uint64_t begin, std::uint64_t end);

 private:
  const SourceFile& file_;
  const TensorCopy& copy_;
  const bool reads_gaps_;
  std::optional<SourceFile::Window> window_;
  std::vector<std::span<const std::byte>> pieces_;
};

// Has the kernel start to read [begin, end) of the slice; returns at once.
void announce(const SourceFile& file, const TensorCopy& copy, std::uint64_t begin,
              std::uint64_t end);

}  // namespace mnm
