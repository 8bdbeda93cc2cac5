#include "kernels/element.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace mnm {
namespace {

struct Format {
  int exponent_bits, fraction_bits;
};
constexpr Format kBf16Format = {8, 7}, kF16Format = {5, 10};

// By the definition of IEEE 754.
double value_of(std::uint32_t bits, Format f) {
  const auto exponent = static_cast<int>(bits >> f.fraction_bits & ((1u << f.exponent_bits) - 1));
  const std::uint32_t fraction = bits & ((1u << f.fraction_bits) - 1);
  const double sign = bits >> (f.exponent_bits + f.fraction_bits) ? -1 : 1;
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  if (exponent == (1 << f.exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
  const double significand = std::ldexp(fraction, -f.fraction_bits) + (exponent > 0);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias);
}

template <typename T>
void check_every_value(Format format) {
  for (std::uint32_t bits = 0; bits < 1u << 16; ++bits) {
    const T x = {static_cast<std::uint16_t>(bits)};
    const double expected = value_of(bits, format);
    const float value = to_float(x);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(to_float(from_float<T>(value)))) << bits;
    } else {
      ASSERT_EQ(value, expected) << bits;
      ASSERT_EQ(from_float<T>(value).bits, bits);
    }
  }
}

// Every float between two neighbours becomes the nearer one, in the middle the even one.
template <typename T>
void check_rounding(std::uint32_t largest) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> part(0, 1);
  for (std::uint32_t bits = 0; bits < largest; ++bits) {
    const double below = double{to_float(T{static_cast<std::uint16_t>(bits)})};
    const double above = double{to_float(T{static_cast<std::uint16_t>(bits + 1)})};
    const double middle = (below + above) / 2;
    std::vector<float> tries = {static_cast<float>(middle)};
    tries.push_back(std::nextafter(tries[0], 0.0f));
    tries.push_back(std::nextafter(tries[0], INFINITY));
    tries.push_back(static_cast<float>(below + (above - below) * part(random)));
    for (const float x : tries) {
      const std::uint32_t right = x == middle ? bits + bits % 2 : x < middle ? bits : bits + 1;
      ASSERT_EQ(from_float<T>(x).bits, right) << x << " between " << below << " and " << above;
      ASSERT_EQ(from_float<T>(-x).bits, right | 0x8000u) << -x;
    }
  }
}

TEST(Element, EveryBf16IsReadAndWritten) { check_every_value<Bf16>(kBf16Format); }
TEST(Element, EveryF16IsReadAndWritten) { check_every_value<F16>(kF16Format); }
TEST(Element, FloatsAreRoundedToTheNearestBf16) { check_rounding<Bf16>(0x7f7f); }
TEST(Element, FloatsAreRoundedToTheNearestF16) { check_rounding<F16>(0x7bff); }

TEST(Element, WhatIsTooLargeIsInfinite) {
  EXPECT_EQ(from_float<F16>(65519.99f).bits, 0x7bff);
  EXPECT_EQ(from_float<F16>(65520.0f).bits, 0x7c00);  // the middle, and 0x7c00 is even
  EXPECT_EQ(from_float<F16>(-1e30f).bits, 0xfc00);
  EXPECT_EQ(from_float<Bf16>(3.4e38f).bits, 0x7f80);
  EXPECT_EQ(from_float<float>(3.4e38f), 3.4e38f);
}

TEST(Element, ReadsAndWritesTheFirstOfAGroup) {
  const std::vector<Bf16> from(8, from_float<Bf16>(2.5f));
  for (int n = 0; n <= kTogether; ++n) {
    float group[kTogether];
    load(from.data(), n, false, -1, group);
    for (int i = 0; i < kTogether; ++i) EXPECT_EQ(group[i], i < n ? 2.5f : -1.0f);
    std::vector<F16> to(8, F16{1});
    store(group, n, false, to.data());
    for (int i = 0; i < kTogether; ++i) {
      EXPECT_EQ(to[static_cast<std::size_t>(i)].bits, i < n ? 0x4100 : 1);
    }
  }
}

TEST(Element, VectorsNeedAlignedRows) {
  alignas(16) const float x[16] = {};
  EXPECT_TRUE(takes_vectors(x, 4));
  EXPECT_FALSE(takes_vectors(x, 6));
  EXPECT_FALSE(takes_vectors(x + 1, 4));
}

}  // namespace
}  // namespace mnm
