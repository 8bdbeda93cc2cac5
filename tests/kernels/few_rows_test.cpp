#include "kernels/few_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

namespace mnm {
namespace {

template <typename W>
void expect_the_definition(std::int64_t rows, std::int64_t depth, bool add, std::mt19937& random) {
  constexpr std::int64_t kColumns = 13, kApart = 3;
  std::normal_distribution<float> normal;
  const std::int64_t stride = depth + kApart, out_stride = kColumns + kApart;
  std::vector<float> x(static_cast<std::size_t>(rows * stride) + 1);
  std::vector<W> w(static_cast<std::size_t>(kColumns * stride) + 1);
  std::vector<float> out(static_cast<std::size_t>(rows * out_stride) + 1);
  for (float& v : x) v = normal(random);
  for (W& v : w) v = from_float<W>(normal(random));
  for (float& v : out) v = normal(random);
  const std::vector<float> before = out;
  few_rows({.rows = rows,
            .columns = kColumns,
            .depth = depth,
            .x = x.data(),
            .x_stride = stride,
            .element = std::is_same_v<W, float> ? Element::kF32 : Element::kBF16,
            .w = w.data(),
            .w_stride = stride,
            .out = out.data(),
            .out_stride = out_stride,
            .add = add});
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i) / out_stride;
    const auto column = static_cast<std::int64_t>(i) % out_stride;
    if (column >= kColumns || row >= rows) {
      EXPECT_EQ(out[i], before[i]) << "not of the product";
      continue;
    }
    double expected = add ? before[i] : 0, size = std::abs(expected);
    for (std::int64_t k = 0; k < depth; ++k) {
      const double term =
          static_cast<double>(x[static_cast<std::size_t>(row * stride + k)]) *
          static_cast<double>(to_float(w[static_cast<std::size_t>(column * stride + k)]));
      expected += term;
      size += std::abs(term);
    }
    // A term goes through a product and an addition for each term of its part, which is one of 8,
    // then through the sum of the parts, the tail of fewer than 16 terms, and what was there.
    const auto roundings = static_cast<double>(2 * (depth / 8) + 8 + 2 * (depth % 16) + 1);
    EXPECT_NEAR(out[i], expected, roundings * 0x1p-24 * size)
        << rows << " rows of " << depth << " at " << i;
  }
}

// Every number of rows, tails of the vectors, rows that lie apart, and sums that are added to.
TEST(FewRows, AgreeWithTheDefinitionInDouble) {
  std::mt19937 random(3);
  for (const std::int64_t rows : {0, 1, 2, 3, 4, 7, 16}) {
    for (const std::int64_t depth : {0, 1, 31, 32, 33, 200}) {
      for (const bool add : {false, true}) {
        expect_the_definition<Bf16>(rows, depth, add, random);
        expect_the_definition<float>(rows, depth, add, random);
      }
    }
  }
}

// Those of 16 KiB and more, of which fewer are read at once.
TEST(FewRows, LongRowsAgreeWithTheDefinition) {
  std::mt19937 random(5);
  for (const std::int64_t rows : {1, 2}) {
    for (const bool add : {false, true}) {
      expect_the_definition<Bf16>(rows, 8192 + 9, add, random);
      expect_the_definition<float>(rows, 4096 + 9, add, random);
    }
  }
}

// In f32 too, and each row has the bits that it has alone.
TEST(FewRows, ARowDoesNotDependOnItsCompany) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  constexpr std::int64_t kRows = 11, kColumns = 21, kDepth = 77;
  std::vector<float> x(kRows * kDepth), w(kColumns * kDepth), out(kRows * kColumns);
  for (float& v : x) v = normal(random);
  for (float& v : w) v = normal(random);
  FewRows all = {.rows = kRows,
                 .columns = kColumns,
                 .depth = kDepth,
                 .x = x.data(),
                 .x_stride = kDepth,
                 .w = w.data(),
                 .w_stride = kDepth,
                 .out = out.data(),
                 .out_stride = kColumns};
  few_rows(all);
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::vector<float> alone(kColumns);
    FewRows one = all;
    one.rows = 1;
    one.x += r * kDepth;
    one.out = alone.data();
    few_rows(one);
    for (std::int64_t c = 0; c < kColumns; ++c) {
      double expected = 0, size = 0;
      for (std::int64_t k = 0; k < kDepth; ++k) {
        const double term = static_cast<double>(x[static_cast<std::size_t>(r * kDepth + k)]) *
                            static_cast<double>(w[static_cast<std::size_t>(c * kDepth + k)]);
        expected += term;
        size += std::abs(term);
      }
      const float got = alone[static_cast<std::size_t>(c)];
      EXPECT_NEAR(got, expected, 2 * kDepth * 0x1p-24 * size);
      EXPECT_EQ(got, out[static_cast<std::size_t>(r * kColumns + c)]) << r << " " << c;
    }
  }
}

}  // namespace
}  // namespace mnm
