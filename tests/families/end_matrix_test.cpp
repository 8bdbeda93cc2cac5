// Reading a matrix in parts is holding it. Values are small integers: sums are exact in any order.
#include "families/end_matrix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace mnm {
namespace {

constexpr const char* kName = "head";

// [words, d]
at::Tensor matrix_of(std::int64_t words, std::int64_t d) {
  return at::arange(words * d, at::kLong).remainder(11).sub(5).view({words, d}).to(at::kFloat);
}

void expect_alike(std::int64_t words, std::int64_t d, std::int64_t least_reads,
                  std::uint64_t row_bytes = kEndPiece) {
  NestedModel model;
  TensorSpec& spec = model.table.tensors.emplace_back();
  spec.name = kName;
  spec.shape = {words, d};
  const at::Tensor matrix = matrix_of(words, d);
  const WeightSource whole = [&](const std::string&) { return matrix; };
  std::int64_t reads = 0, most = 0, rooms = 0;
  const RowSource rows_of = [&](const std::string& name, std::int64_t first, std::int64_t count,
                                at::Tensor& room) {
    EXPECT_EQ(name, kName);
    ++reads;
    most = std::max(most, count);
    if (!room.defined() || room.size(0) < count) {
      ++rooms;
      room = at::empty({count, d}, at::kFloat);
    }
    return room.narrow(0, 0, count).copy_(matrix.narrow(0, first, count));
  };
  const EndMatrix held({model, whole}, kName);
  const EndMatrix read({model, whole, /*resident=*/false, rows_of, row_bytes}, kName);
  const at::Tensor tokens =
      at::tensor(std::vector<std::int64_t>{words - 1, 0, 0, words - 1, 1, 0}).view({2, 3});
  EXPECT_TRUE(at::equal(held.at(tokens), read.at(tokens)));
  EXPECT_EQ(reads, 3) << "each word once";

  reads = rooms = 0;
  const at::Tensor rows = matrix_of(3, d).flip(1);
  EXPECT_TRUE(at::equal(held.product(rows), read.product(rows)));
  EXPECT_GE(reads, least_reads);
  EXPECT_LE(static_cast<std::uint64_t>(most * d) * sizeof(float), row_bytes);
  EXPECT_EQ(rooms, 1) << "of all parts";
  EXPECT_TRUE(at::equal(held.product(rows, 1, words - 2), read.product(rows, 1, words - 2)));
  EXPECT_TRUE(at::equal(held.product(rows, words - 1, 1), read.product(rows, words - 1, 1)));
}

TEST(EndMatrix, InPartsIsWhatItIsWhole) {
  expect_alike(7, 5, 1);
  expect_alike(7, 5, 3, 3 * 5 * sizeof(float));
  expect_alike(40, 1 << 19, 2);  // 2 MiB a row: pieces of 32 words
}

}  // namespace
}  // namespace mnm
