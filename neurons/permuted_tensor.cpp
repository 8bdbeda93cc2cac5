#include "neurons/permuted_tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mnm {
namespace {

// A system call costs about as much as copying 4 KiB, so blocks of at least a quarter of that are
// read one by one.
constexpr std::int64_t kReadAlone = 1 << 10;

// The bytes of places from on, of one row in memory.
template <typename Element>
void gather(const std::byte* row, std::span<const std::int32_t> from, std::byte* into) {
  for (const std::int32_t index : from) {
    std::memcpy(into, row + static_cast<std::size_t>(index) * sizeof(Element), sizeof(Element));
    into += sizeof(Element);
  }
}

void gather(const std::byte* row, std::span<const std::int32_t> from, std::int64_t inner,
            std::byte* into) {
  switch (inner) {
    case 2:
      return gather<std::uint16_t>(row, from, into);
    case 4:
      return gather<std::uint32_t>(row, from, into);
    case 8:
      return gather<std::uint64_t>(row, from, into);
    default:
      for (const std::int32_t index : from) {
        std::memcpy(into, row + std::int64_t{index} * inner, static_cast<std::size_t>(inner));
        into += inner;
      }
  }
}

// Whole blocks are read from where they lie. The first and the last may be in part.
void read_blocks(const PermutedTensor& tensor, std::uint64_t begin, std::span<std::byte> into,
                 const ReadBytes& read) {
  const auto inner = static_cast<std::uint64_t>(tensor.inner);
  const auto count = static_cast<std::uint64_t>(tensor.count);
  while (!into.empty()) {
    const std::uint64_t block = begin / inner, skipped = begin % inner;
    const std::size_t n = std::min<std::size_t>(inner - skipped, into.size());
    const auto source = static_cast<std::uint64_t>(tensor.from[block % count]);
    read((block / count * count + source) * inner + skipped, into.first(n));
    begin += n;
    into = into.subspan(n);
  }
}

// Rows are read together and reordered in memory. Where `into` ends within a row, the row is made
// in the buffer and copied in part.
void read_rows(const PermutedTensor& tensor, std::uint64_t begin, std::span<std::byte> into,
               const ReadBytes& read, std::vector<std::byte>& buffer) {
  const auto row = static_cast<std::uint64_t>(tensor.count * tensor.inner);
  const std::uint64_t together = std::max<std::uint64_t>(1, kBlock / row);
  while (!into.empty()) {
    const std::uint64_t first = begin / row, skipped = begin % row;
    const std::uint64_t rows = std::min(together, (skipped + into.size() + row - 1) / row);
    buffer.resize((rows + 1) * row);
    read(first * row, std::span(buffer).first(rows * row));
    std::byte* const scratch = buffer.data() + rows * row;
    for (std::uint64_t r = 0; r < rows && !into.empty(); ++r) {
      const std::uint64_t from = r == 0 ? skipped : 0;
      const std::size_t n = std::min<std::size_t>(row - from, into.size());
      std::byte* const whole = n == row ? into.data() : scratch;
      gather(buffer.data() + r * row, tensor.from, tensor.inner, whole);
      if (n != row) std::memcpy(into.data(), scratch + from, n);
      begin += n;
      into = into.subspan(n);
    }
  }
}

}  // namespace

PermutedTensor permuted(std::span<const std::int64_t> shape, int dim, Dtype dtype,
                        std::vector<std::int32_t> from) {
  PermutedTensor tensor;
  const auto cut = static_cast<std::size_t>(dim);
  tensor.count = shape[cut];
  tensor.inner = static_cast<std::int64_t>(size_of(dtype));
  for (std::size_t d = 0; d < cut; ++d) tensor.outer *= shape[d];
  for (std::size_t d = cut + 1; d < shape.size(); ++d) tensor.inner *= shape[d];
  tensor.from = std::move(from);
  return tensor;
}

void read_permuted(const PermutedTensor& tensor, std::uint64_t begin, std::span<std::byte> into,
                   const ReadBytes& read, std::vector<std::byte>& buffer) {
  const bool one_row = tensor.outer == 1 && tensor.bytes() > kBlock;
  if (tensor.inner >= kReadAlone || one_row) {
    read_blocks(tensor, begin, into, read);
  } else {
    read_rows(tensor, begin, into, read, buffer);
  }
}

}  // namespace mnm
