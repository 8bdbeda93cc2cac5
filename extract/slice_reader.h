// A tensor slice as one stream of bytes, whatever ranges of the file it is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "extract/copy_plan.h"
#include "extract/source_file.h"

namespace mnm {

// Holds a fixed buffer, whatever the tensor's size. `file` and `copy` must outlive it.
class SliceReader {
 public:
  SliceReader(SourceFile& file, const TensorCopy& copy);

  // The next bytes of the slice: fills `into`, or what is left of the slice. Returns how many.
  std::size_t read(std::span<std::byte> into);

 private:
  void fetch(std::uint64_t offset, std::span<std::byte> into);
  void read_ahead();

  SourceFile& file_;
  const TensorCopy& copy_;
  std::uint64_t row_ = 0, at_ = 0;  // the next byte: row, and position in range_ of it
  std::size_t range_ = 0;
  std::uint64_t announced_ = 0;  // rows that were prefetched
  bool windowed_ = false;        // small ranges: read whole stretches and pick from them
  std::uint64_t window_begin_ = 0;
  std::vector<std::byte> window_;
};

}  // namespace mnm
