// A ring of memory for stretches of files that are read in whole blocks, used in order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace mnm {

// Memory for SourceFile::read_blocks. Addresses count bytes from the ring's first use on; those
// that lie a capacity apart are the same memory. Who writes and who reads keep clear of each other
// by themselves.
class BlockRing {
 public:
  explicit BlockRing(
      std::size_t capacity);  // a multiple of SourceFile::kBlock; taken when first written

  // In order: the memory of [begin, end), in two pieces where the ring's end lies between, the
  // second one empty otherwise. At most `capacity` bytes.
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
