#include "kernels/sum_of.h"

#include <gtest/gtest.h>

#include <vector>

namespace mnm {
namespace {

TEST(SumOf, CountsEveryElementOnce) {
  for (const std::int64_t n : {0, 1, 63, 64, 65, 127, 128, 1000}) {
    std::vector<float> x;
    // Whole numbers, whose sums are exact in any order.
    for (std::int64_t i = 0; i < n; ++i) x.push_back(static_cast<float>(i + 1));
    float sum = -1;
    sum_of(x.data(), n, &sum);
    EXPECT_EQ(sum, static_cast<float>(n * (n + 1) / 2)) << n;
  }
}

}  // namespace
}  // namespace mnm
