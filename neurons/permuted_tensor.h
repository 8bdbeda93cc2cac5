// A stored tensor with the indices of one dimension in another order, as a stream of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/dtype.h"

namespace mnm {

// The tensor is seen as [outer, count, inner bytes]; the middle dimension is reordered. For the
// rows of a matrix `outer` is 1 and `inner` a row; for its columns `outer` is the number of rows
// and `inner` an element.
struct PermutedTensor {
  std::int64_t outer = 1, count = 0, inner = 0;
  std::vector<std::int32_t> from;  // [count]: the index whose bytes come here

  std::uint64_t bytes() const { return static_cast<std::uint64_t>(outer * count * inner); }
};

// Shape [..] with dimension `dim` reordered by `from`.
PermutedTensor permuted(std::span<const std::int64_t> shape, int dim, Dtype dtype,
                        std::vector<std::int32_t> from);

// Gives bytes of the stored tensor from `begin` on.
using ReadBytes = std::function<void(std::uint64_t begin, std::span<std::byte> into)>;

// Fills `into` with the bytes of the reordered tensor from `begin` on. Long rows that move as a
// whole are read one by one. Rows that are reordered within are read in blocks of at most kBlock or
// one row, into `buffer`.
inline constexpr std::uint64_t kBlock = 256u << 10;
void read_permuted(const PermutedTensor& tensor, std::uint64_t begin, std::span<std::byte> into,
                   const ReadBytes& read, std::vector<std::byte>& buffer);

}  // namespace mnm
