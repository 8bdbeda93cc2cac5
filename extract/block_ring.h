// A ring of memory for parts of files that are read in whole blocks and used in order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace mnm {

// Memory for SourceFile::read_blocks. Addresses count the bytes since the first use of the ring.
// Two addresses that are a capacity apart are the same memory. The writer and the reader must keep
// clear of each other themselves.
class BlockRing {
 public:
  explicit BlockRing(
      std::size_t capacity);  // a multiple of SourceFile::kBlock; taken when first written

  // The memory of [begin, end), at most `capacity` bytes, in order. It is two pieces if the end of
  // the ring lies between; else the second piece is empty.
  using Pieces = std::array<std::span<std::byte>, 2>;
  Pieces at(std::uint64_t begin, std::uint64_t end) const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::size_t capacity_;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace mnm
