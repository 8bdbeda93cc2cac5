// RMSNorm of 16 bits whose weight is an offset from 1, as Gemma's, against the formula in double.
#include "families/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

namespace mnm {
namespace {

constexpr double kEpsilon = 1e-6;

at::Tensor some(std::vector<std::int64_t> shape, double spread, at::ScalarType type) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  const at::Tensor steps = at::arange(count, at::kDouble);
  return ((steps + 1).mul(0.7310585).sin() * spread).view(shape).to(type);
}

at::Tensor by_formula(const at::Tensor& x, const at::Tensor& weight, double offset) {
  const at::Tensor in = x.to(at::kDouble);
  const at::Tensor root = (in.square().mean(-1, true) + kEpsilon).sqrt();
  return in / root * (weight.to(at::kDouble) + offset);
}

// The largest error relative to the value.
double worst(const at::Tensor& got, const at::Tensor& exact) {
  return ((got.to(at::kDouble) - exact) / exact).abs().max().item<double>();
}

// One rounding, to the type of x: its unit roundoff, and what f32 adds of at most 2^-20.
TEST(RowNorm, RoundsOnceWhereTheWeightIsAnOffset) {
  for (const bool gradients : {false, true}) {
    const at::AutoGradMode mode(gradients);
    for (const auto& [type, roundoff] :
         {std::pair(at::kBFloat16, 0x1p-8), std::pair(at::kHalf, 0x1p-11)}) {
      const at::Tensor x = some({5, 96}, 2, type), weight = some({96}, 0.3, type);
      const at::Tensor got = rms_norm(x, offset_weight(weight, 1), kEpsilon);
      EXPECT_EQ(got.scalar_type(), type);
      const at::Tensor exact = by_formula(x, weight, 1);
      EXPECT_LE(worst(got, exact), roundoff + 0x1p-20);
      // What it would be if 1 + weight were rounded before: the bound tells the two apart.
      EXPECT_GT(worst(rms_norm(x, weight + 1, kEpsilon), exact), roundoff + 0x1p-20);
    }
  }
}

TEST(RowNorm, AWeightOfManyBitsKeepsItsTypeBesideItsOffset) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = some({3, 48}, 2, at::kDouble), weight = some({48}, 0.3, at::kDouble);
  EXPECT_EQ(offset_weight(weight, 1).scalar_type(), at::kDouble);
  EXPECT_LE(worst(rms_norm(x, offset_weight(weight, 1), kEpsilon), by_formula(x, weight, 1)),
            48 * 0x1p-53);
  EXPECT_TRUE(offset_weight(weight, 0).is_same(weight));
}

}  // namespace
}  // namespace mnm
