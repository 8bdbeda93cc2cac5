// D = A W^T + C on a device against the definition in double. Label `gpu`.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>

#include "kernels/cuda/sum_product.h"
#include "tests/kernels/device.h"
#include "tests/kernels/pointwise_cases.h"

namespace mnm {
namespace {

using test::Device;

// Segments of wider matrices, as the parts of `down` are: strides larger than rows, several at
// once.
TEST(SumProductCuda, AgreesWithTheDefinitionInDouble) {
  MNM_NEEDS_DEVICE();
  std::mt19937 random(5);
  const Device work{std::vector<std::byte>(kSumProductWork)};
  for (const Element element : {Element::kF32, Element::kBF16, Element::kF16}) {
    for (const std::int64_t batches : {1, 3}) {
      for (const auto& [rows, columns, depth, first, whole] :
           {std::array<std::int64_t, 5>{1, 8, 8, 0, 8},
            {5, 16, 1, 3, 12},
            {64, 32, 24, 8, 40},
            {130, 7, 9, 0, 9},
            {300, 128, 256, 256, 512}}) {
        const auto size = [element](std::int64_t n) {
          return static_cast<std::size_t>(n * (element == Element::kF32 ? 4 : 2));
        };
        const std::int64_t apart = rows * columns;  // between results of neighbouring matrices
        const test::Stored a = test::random_matrix(element, batches * rows * whole, random);
        const test::Stored w = test::random_matrix(element, columns * whole, random);
        const test::Stored c = test::random_matrix(element, batches * rows * columns, random);
        const test::Stored before = test::random_matrix(element, 2 * batches * apart, random);
        const Device a_d(a.bytes), w_d(w.bytes), c_d(c.bytes), d_d(before.bytes);
        const char* const failure = sum_product_cuda({.element = element,
                                                      .batches = batches,
                                                      .rows = rows,
                                                      .columns = columns,
                                                      .depth = depth,
                                                      .a = a_d.data() + size(first),
                                                      .a_stride = whole,
                                                      .a_batch = rows * whole,
                                                      .w = w_d.data() + size(first),
                                                      .w_stride = whole,
                                                      .c = c_d.data(),
                                                      .c_stride = columns,
                                                      .c_batch = rows * columns,
                                                      .d = d_d.data(),
                                                      .d_stride = columns,
                                                      .d_batch = 2 * apart},
                                                     0, work.data(), kSumProductWork);
        const std::string name = std::to_string(batches) + " of " + std::to_string(rows) + " x " +
                                 std::to_string(columns) + " x " + std::to_string(depth) +
                                 ", element " + std::to_string(static_cast<int>(element));
        const std::vector<double> got = test::values_of(element, d_d.values());
        if (failure) {  // then nothing was touched, and the caller takes LibTorch's products
          EXPECT_FALSE(test::kOnHost) << name << ": " << failure;
          EXPECT_EQ(got, before.values) << name << ": " << failure;
          std::printf("%s: %s\n", name.c_str(), failure);
          continue;
        }
        for (std::int64_t b = 0; b < batches; ++b) {
          for (std::int64_t row = 0; row < rows; ++row) {
            for (std::int64_t column = 0; column < columns; ++column) {
              const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
              double expected = c.values[at((b * rows + row) * columns + column)];
              double size_of_terms = std::abs(expected);
              for (std::int64_t k = 0; k < depth; ++k) {
                const double term = a.values[at((b * rows + row) * whole + first + k)] *
                                    w.values[at(column * whole + first + k)];
                expected += term;
                size_of_terms += std::abs(term);
              }
              const std::int64_t place = (2 * b * rows + row) * columns + column;
              EXPECT_NEAR(got[at(place)], expected,
                          0x1p-24 * static_cast<double>(depth + 2) * size_of_terms +
                              1.01 * test::roundoff(element) * std::abs(expected) +
                              test::kSubnormal)
                  << name << ", at " << b << ", " << row << ", " << column;
              const std::int64_t beside = place + apart;  // of no result
              EXPECT_EQ(got[at(beside)], before.values[at(beside)]) << name;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mnm
