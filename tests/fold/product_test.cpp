#include "fold/product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>

namespace mnm {
namespace {

const at::Tensor kNone;

// |result - (sum + x w^T)| where each term is rounded once and each addition again, in f32.
void expect_product(const at::Tensor& result, const at::Tensor& sum, const at::Tensor& x,
                    const at::Tensor& w, const std::string& what) {
  const at::Tensor a = x.to(at::kDouble), b = w.to(at::kDouble).t();
  at::Tensor expected = at::mm(a, b), size = at::mm(a.abs(), b.abs());
  if (sum.defined()) {
    expected = expected + sum;
    size = size + sum.abs();
  }
  const double roundings = 2 * static_cast<double>(x.size(1)) + 1;
  const at::Tensor over = (result.to(at::kDouble) - expected).abs() - size * (roundings * 0x1p-24);
  EXPECT_LE(over.max().item<double>(), 0) << what;
}

class Products : public ::testing::Test {
 protected:
  Products() { at::manual_seed(5); }
};

std::int64_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// Where the loop over weights is not compiled for it, at::parallel_for runs on one thread.
TEST_F(Products, OfFewRowsAndManyWeightsRunOnAllThreads) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);  // while the tensors are made
  const at::Tensor x = at::randn({1, 1024}), w = at::randn({4096, 1024}),
                   out = at::empty({1, 4096});
  at::set_num_threads(3);
  product_into(out, x, w);
  EXPECT_GE(threads_of_this_process(), 3);
}

// Few rows and many, weights of one block and of several, and such as are columns of others.
TEST_F(Products, OfNarrowWeightsAreTakenInF32) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const std::int64_t rows : {1, 8, 9, 65}) {
      for (const std::int64_t columns : {1, 7, 1100}) {
        for (const std::int64_t depth : {3, 1500}) {
          const std::string what = std::string(c10::toString(type)) + " " + std::to_string(rows) +
                                   " " + std::to_string(columns) + " " + std::to_string(depth);
          const at::Tensor x = at::randn({rows, depth + 2}).narrow(1, 1, depth);
          const at::Tensor w = at::randn({columns, depth + 5}).to(type).narrow(1, 2, depth);
          const at::Tensor bias = at::randn({columns}), sum = at::randn({rows, columns});
          expect_product(product(x, w), kNone, x, w, what);
          expect_product(product(x, w, bias), bias, x, w, what);

          const at::Tensor all = at::full({rows, columns + 4}, 7.0f);
          const at::Tensor out = all.narrow(1, 3, columns);
          product_into(out, x, w);
          expect_product(out, kNone, x, w, what);
          add_product_into(out, sum, x, w);
          expect_product(out, sum, x, w, what);
          const at::Tensor before = out.clone();
          add_product_into(out, out, x, w);
          expect_product(out, before, x, w, what);
          EXPECT_TRUE(all.narrow(1, 0, 3).eq(7).all().item<bool>()) << what;
          EXPECT_TRUE(all.narrow(1, 3 + columns, 1).eq(7).all().item<bool>()) << what;
        }
      }
    }
  }
  ASSERT_GT(1100 * 1500, kWidenedElements);
}

TEST_F(Products, OfOneTypeAreThoseOfLibTorch) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor x = at::randn({9, 20}, type), w = at::randn({6, 20}, type);
    EXPECT_TRUE(product(x, w).equal(at::mm(x, w.t())));
    EXPECT_EQ(arithmetic_type(at::kCPU, type), type);
    EXPECT_TRUE(in_arithmetic_type(x).is_same(x));
  }
  EXPECT_EQ(arithmetic_type({at::kCUDA, 0}, at::kBFloat16), at::kBFloat16);
}

}  // namespace
}  // namespace mnm
