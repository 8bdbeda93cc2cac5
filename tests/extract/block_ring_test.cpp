#include "extract/block_ring.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "extract/source_file.h"

namespace mnm {
namespace {

constexpr std::uint64_t kBlock = SourceFile::kBlock;

TEST(BlockRing, GivesEveryAddressItsMemory) {
  const BlockRing ring(3 * kBlock);
  std::byte* const memory = ring.at(0, 1)[0].data();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % kBlock, 0u);
  for (std::uint64_t begin = 0; begin < 7 * kBlock; begin += 1021) {
    for (std::uint64_t size = 0; size <= 3 * kBlock; size += 1536) {
      const auto [first, second] = ring.at(begin, begin + size);
      ASSERT_EQ(first.size() + second.size(), size);
      EXPECT_EQ(first.data(), memory + begin % (3 * kBlock));
      if (second.empty()) continue;
      EXPECT_EQ(second.data(), memory);
      EXPECT_EQ(first.data() + first.size(), memory + 3 * kBlock);
    }
  }
}

}  // namespace
}  // namespace mnm
