#include "model/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

constexpr Dtype kAll[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};

// The value that IEEE 754 gives a pattern of `exponent` and `mantissa` bits, from the definition.
double value_of(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  }
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1 + fraction, exponent - bias);
}

struct Half {
  const char* name;
  int exponent_bits, mantissa_bits;
  float (*widen)(std::uint16_t);
  std::uint16_t (*narrow)(float);
};
const Half kHalves[] = {{"f16", 5, 10, f16_to_f32, f32_to_f16},
                        {"bf16", 8, 7, bf16_to_f32, f32_to_bf16}};

TEST(Dtype, EveryPatternHasItsValueAndComesBack) {
  for (const Half& half : kHalves) {
    for (unsigned pattern = 0; pattern < 65536; ++pattern) {
      const auto bits = static_cast<std::uint16_t>(pattern);
      const double expected = value_of(bits, half.exponent_bits, half.mantissa_bits);
      const float value = half.widen(bits);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(value)) << half.name << " " << pattern;
      } else {
        ASSERT_EQ(static_cast<double>(value), expected) << half.name << " " << pattern;
      }
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << half.name << " " << pattern;
      ASSERT_EQ(half.narrow(value), bits) << half.name << " " << pattern;
    }
  }
}

// Between neighbours a < b: below the middle goes to a, above it to b, the middle to the even one.
TEST(Dtype, RoundsToNearestEven) {
  for (const Half& half : kHalves) {
    const unsigned infinity = ((1u << half.exponent_bits) - 1) << half.mantissa_bits;
    for (unsigned pattern = 0; pattern < infinity; ++pattern) {
      const auto a = static_cast<std::uint16_t>(pattern),
                 b = static_cast<std::uint16_t>(pattern + 1);
      const double low = value_of(a, half.exponent_bits, half.mantissa_bits);
      // The largest finite value's upper neighbour would be the next power of two.
      const double high = pattern + 1 == infinity
                              ? low + (low - value_of(static_cast<std::uint16_t>(pattern - 1),
                                                      half.exponent_bits, half.mantissa_bits))
                              : value_of(b, half.exponent_bits, half.mantissa_bits);
      const auto middle = static_cast<float>((low + high) / 2);
      ASSERT_EQ(static_cast<double>(middle), (low + high) / 2) << half.name << " " << pattern;
      const float below = std::nextafter(middle, -1.0f), above = std::nextafter(middle, INFINITY);
      const auto negative = [](std::uint16_t bits) {
        return static_cast<std::uint16_t>(bits | 0x8000);
      };
      const std::uint16_t even = (pattern & 1) == 0 ? a : b;
      ASSERT_EQ(half.narrow(middle), even) << half.name << " " << pattern;
      ASSERT_EQ(half.narrow(below), a) << half.name << " " << pattern;
      ASSERT_EQ(half.narrow(above), b) << half.name << " " << pattern;
      ASSERT_EQ(half.narrow(-middle), negative(even)) << half.name << " " << pattern;
    }
  }
}

TEST(Dtype, ExtremesOfF32) {
  for (const Half& half : kHalves) {
    const auto infinity =
        static_cast<std::uint16_t>(((1 << half.exponent_bits) - 1) << half.mantissa_bits);
    EXPECT_EQ(half.narrow(std::numeric_limits<float>::max()), infinity) << half.name;
    EXPECT_EQ(half.narrow(-INFINITY), infinity | 0x8000) << half.name;
    EXPECT_EQ(half.narrow(std::numeric_limits<float>::denorm_min()), 0) << half.name;
    EXPECT_EQ(half.narrow(-0.0f), 0x8000) << half.name;
    // A NaN whose payload lies wholly in the bits that are dropped must not become infinity.
    EXPECT_TRUE(std::isnan(half.widen(half.narrow(std::bit_cast<float>(0x7f800001u)))))
        << half.name;
    EXPECT_TRUE(std::isnan(half.widen(half.narrow(std::bit_cast<float>(0xffffffffu)))))
        << half.name;
  }
}

TEST(Dtype, SpansMayBeUnalignedAndEmpty) {
  const std::vector<float> values = {0.0f, -1.5f, 3.25f, 1024.0f, -0.0f, INFINITY};
  for (const Dtype dtype : kAll) {
    std::vector<std::byte> bytes(values.size() * size_of(dtype) + 1);
    const auto unaligned = std::span(bytes).subspan(1);
    from_f32(values, dtype, unaligned);
    std::vector<float> back(values.size());
    to_f32(unaligned, dtype, back);
    EXPECT_EQ(std::memcmp(back.data(), values.data(), values.size() * 4), 0) << to_string(dtype);
    from_f32({}, dtype, {});
    to_f32({}, dtype, {});
  }
}

TEST(Dtype, NamesAndSizes) {
  for (const Dtype dtype : kAll) {
    EXPECT_EQ(parse_dtype(to_string(dtype)), dtype);
    EXPECT_EQ(parse_dtype(safetensors_name(dtype)), dtype);
    EXPECT_EQ(parse_dtype(torch_name(dtype)), dtype);
    EXPECT_EQ(size_of(dtype), dtype == Dtype::kF32 ? 4u : 2u);
  }
  EXPECT_EQ(to_string(Dtype::kBF16), "bf16");
  EXPECT_EQ(safetensors_name(Dtype::kF16), "F16");
  EXPECT_EQ(torch_name(Dtype::kBF16), "bfloat16");
  EXPECT_TRUE(test::contains(test::usage_error_of([] { parse_dtype("int8"); }), "'int8'"));
  EXPECT_THROW(parse_dtype(""), UsageError);
}

}  // namespace
}  // namespace mnm
