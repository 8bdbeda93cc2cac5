#include "extract/block_ring.h"

#include <algorithm>
#include <new>

#include "extract/source_file.h"

namespace mnm {
namespace {

constexpr std::align_val_t kAlignment{SourceFile::kBlock};

}  // namespace

void BlockRing::Free::operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }

BlockRing::BlockRing(std::size_t capacity)
    : capacity_(capacity), memory_(static_cast<std::byte*>(::operator new(capacity, kAlignment))) {}

BlockRing::Pieces BlockRing::at(std::uint64_t begin, std::uint64_t end) const {
  const auto from = static_cast<std::size_t>(begin % capacity_);
  const auto size = static_cast<std::size_t>(end - begin);
  const std::size_t first = std::min(size, capacity_ - from);
  return {std::span(memory_.get() + from, first), std::span(memory_.get(), size - first)};
}

}  // namespace mnm
