// A tensor slice as one stream of bytes, whatever ranges of the file it is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "extract/copy_plan.h"
#include "extract/source_file.h"

namespace mnm {

// Holds a fixed buffer, whatever the tensor's size. `file` and `copy` must outlive it. Positions
// are bytes of the slice, 0 to copy.bytes.
class SliceReader {
 public:
  SliceReader(const SourceFile& file, const TensorCopy& copy);

  void seek(std::uint64_t position);
  // The next bytes: fills `into`, or what is left of the slice. Returns how many.
  std::size_t read(std::span<std::byte> into);

  // Has the kernel start to read [begin, end) of the slice; returns at once.
  void announce(std::uint64_t begin, std::uint64_t end) const;

 private:
  struct Place {
    std::uint64_t row = 0;
    std::size_t range = 0;
    std::uint64_t in_range = 0;
  };
  Place place_of(std::uint64_t position) const;
  std::uint64_t offset_of(const Place& place) const;
  void fetch(std::uint64_t offset, std::span<std::byte> into);

  const SourceFile& file_;
  const TensorCopy& copy_;
  bool whole_ = false;              // rows are read with their gaps
  Place place_;                     // of the next byte
  std::uint64_t window_begin_ = 0;  // what window_ holds of the file, where rows are read whole
  std::vector<std::byte> window_;
};

}  // namespace mnm
