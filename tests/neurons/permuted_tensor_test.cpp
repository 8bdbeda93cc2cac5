// Against a loop over elements, for every place to begin and many lengths.
#include "neurons/permuted_tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

namespace mnm {
namespace {

std::vector<std::byte> reordered(const std::vector<std::byte>& bytes,
                                 const PermutedTensor& tensor) {
  std::vector<std::byte> out(bytes.size());
  const auto inner = static_cast<std::size_t>(tensor.inner);
  const auto count = static_cast<std::size_t>(tensor.count);
  for (std::size_t o = 0; o < static_cast<std::size_t>(tensor.outer); ++o) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto from = static_cast<std::size_t>(tensor.from[i]);
      std::memcpy(&out[(o * count + i) * inner], &bytes[(o * count + from) * inner], inner);
    }
  }
  return out;
}

struct Case {
  std::vector<std::int64_t> shape;
  int dim;
  Dtype dtype;
};

void check(const Case& c, std::mt19937& random) {
  std::vector<std::int32_t> from(
      static_cast<std::size_t>(c.shape[static_cast<std::size_t>(c.dim)]));
  std::iota(from.begin(), from.end(), 0);
  std::ranges::shuffle(from, random);
  const PermutedTensor tensor = permuted(c.shape, c.dim, c.dtype, from);
  std::vector<std::byte> bytes(tensor.bytes());
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
  const std::vector<std::byte> expected = reordered(bytes, tensor);
  const ReadBytes read = [&](std::uint64_t begin, std::span<std::byte> into) {
    ASSERT_LE(begin + into.size(), bytes.size());
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin), into.size(), into.begin());
  };
  std::vector<std::byte> buffer;
  const std::size_t step = std::max<std::size_t>(1, bytes.size() / 97);
  for (std::size_t begin = 0; begin < bytes.size(); begin += step) {
    for (const std::size_t length : {std::size_t{1}, step, bytes.size() / 3, bytes.size()}) {
      std::vector<std::byte> into(std::min(length, bytes.size() - begin));
      read_permuted(tensor, begin, into, read, buffer);
      ASSERT_TRUE(std::equal(into.begin(), into.end(),
                             expected.begin() + static_cast<std::ptrdiff_t>(begin)))
          << "from " << begin << ", " << into.size() << " bytes";
    }
  }
}

TEST(PermutedTensor, IsTheTensorInAnotherOrder) {
  std::mt19937 random(1);
  const Case cases[] = {
      {{7}, 0, Dtype::kF32},          {{12, 5}, 0, Dtype::kF32},   {{12, 5}, 1, Dtype::kBF16},
      {{5, 12}, 1, Dtype::kF32},      {{6, 4, 3}, 1, Dtype::kF16}, {{6, 1, 4}, 0, Dtype::kF32},
      {{9, 600}, 0, Dtype::kBF16},    {{3, 40}, 1, Dtype::kF64},   {{1, 1}, 0, Dtype::kF32},
      {{2000, 100}, 0, Dtype::kBF16},  // rows that are short, of a tensor that is not
      {{100, 2000}, 1, Dtype::kBF16},  // several blocks of rows
  };
  for (const Case& c : cases) check(c, random);
}

}  // namespace
}  // namespace mnm
