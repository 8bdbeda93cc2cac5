// What is kept of a product from launch to launch is for its shape and its addresses' alignment
// alone; where cuBLASLt has no algorithm for it, that is said and nothing is touched.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda/sum_product.h"
#include "tests/kernels/device.h"
#include "tests/support/cuda_on_host/cuda_on_host.h"

namespace mnm {
namespace {

using cuda_on_host::Algorithms;
using test::Device;

TEST(ProductPlan, IsForOneShapeAndOneAlignment) {
  const Device work{std::vector<std::byte>(kSumProductWork)};
  const Device ones(std::vector<float>(256, 1.0f));
  constexpr std::int64_t kStride = 16;
  struct Case {
    std::int64_t rows = 4, columns = 8, depth = 8;
    std::int64_t a = 0, w = 0, c = 0, d = 0;  // elements from an aligned address
  };
  for (const Case& at :
       {Case{}, Case{.a = 1}, Case{.w = 1}, Case{.c = 1}, Case{.d = 1}, Case{.a = 2, .w = 4},
        Case{.c = 2, .d = 4}, Case{.depth = 4}, Case{.rows = 3}, Case{.columns = 5}, Case{}}) {
    const Device d(std::vector<float>(256, 7.0f));
    const char* const failure = sum_product_cuda({.rows = at.rows,
                                                  .columns = at.columns,
                                                  .depth = at.depth,
                                                  .a = ones.data() + at.a,
                                                  .a_stride = kStride,
                                                  .w = ones.data() + at.w,
                                                  .w_stride = kStride,
                                                  .c = ones.data() + at.c,
                                                  .c_stride = kStride,
                                                  .d = d.data() + at.d,
                                                  .d_stride = kStride},
                                                 0, work.data(), kSumProductWork);
    EXPECT_STREQ(failure, nullptr);
    std::vector<float> expected(256, 7.0f);
    for (std::int64_t row = 0; row < at.rows; ++row) {
      for (std::int64_t column = 0; column < at.columns; ++column) {
        expected[static_cast<std::size_t>(at.d + row * kStride + column)] =
            static_cast<float>(at.depth + 1);
      }
    }
    EXPECT_EQ(d.values(), expected);
  }
}

TEST(ProductPlan, WithoutAnAlgorithmLeavesTheResultAsItWas) {
  const Device work{std::vector<std::byte>(kSumProductWork)};
  const Device ones(std::vector<float>(64, 1.0f));
  std::int64_t rows = 0;  // as many for each, since what is found is kept for a shape
  for (const Algorithms algorithms :
       {Algorithms::kNone, Algorithms::kNoneListed, Algorithms::kOneThatIsNone, Algorithms::kOne}) {
    cuda_on_host::set_algorithms(algorithms);
    const Device d(std::vector<float>(64, 7.0f));
    const char* const failure = sum_product_cuda({.rows = ++rows,
                                                  .columns = 4,
                                                  .depth = 2,
                                                  .a = ones.data(),
                                                  .a_stride = 2,
                                                  .w = ones.data(),
                                                  .w_stride = 2,
                                                  .c = ones.data(),
                                                  .c_stride = 4,
                                                  .d = d.data(),
                                                  .d_stride = 4},
                                                 0, work.data(), kSumProductWork);
    const bool found = algorithms == Algorithms::kOne;
    EXPECT_STREQ(failure, found ? nullptr : "cuBLASLt has no algorithm for these shapes");
    EXPECT_EQ(d.values().front(), found ? 3.0f : 7.0f);
  }
}

}  // namespace
}  // namespace mnm
