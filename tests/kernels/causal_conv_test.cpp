#include "kernels/causal_conv.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

namespace mnm {
namespace {

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Rows {
  ConvShape shape;
  std::vector<float> x, before, weight, bias;  // weight [taps, channels + 2]
  bool has_before = false, has_bias = false;

  std::int64_t weight_stride() const { return shape.channels + 2; }
  const float* history() const { return has_before ? before.data() : nullptr; }
  const float* offset() const { return has_bias ? bias.data() : nullptr; }
};

std::vector<Rows> cases() {
  std::vector<Rows> all;
  std::mt19937 random(5);
  std::uniform_real_distribution<float> unit(-2, 2);
  for (const std::int64_t tokens : {1, 2, 3, 4, 30}) {
    for (const std::int64_t taps : {1, 2, 4, 7}) {
      for (const std::int64_t channels : {1, 8, 63, 64, 65, 130}) {
        Rows& rows = all.emplace_back();
        rows.shape = {.tokens = tokens,
                      .channels = channels,
                      .taps = taps,
                      .stride = channels + 3,
                      .before_stride = channels + 1,
                      .out_stride = channels + 5};
        rows.has_before = all.size() % 2 == 0;
        rows.has_bias = all.size() % 3 != 0;
        const auto fill = [&](std::vector<float>& values, std::int64_t n) {
          values.resize(size(n));
          for (float& x : values) x = unit(random);
        };
        fill(rows.x, tokens * rows.shape.stride);
        fill(rows.before, (taps - 1) * rows.shape.before_stride);
        fill(rows.weight, taps * rows.weight_stride());
        fill(rows.bias, channels);
      }
    }
  }
  return all;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The convolution before silu, and the sum of its terms' absolute values.
std::array<double, 2> convolved(const Rows& rows, std::int64_t t, std::int64_t c) {
  const ConvShape& s = rows.shape;
  double sum = rows.has_bias ? rows.bias[size(c)] : 0, absolute = std::abs(sum);
  for (std::int64_t k = 0; k < s.taps; ++k) {
    const std::int64_t at = t - s.taps + 1 + k;
    if (at < 0 && !rows.has_before) continue;
    const double x = at < 0 ? rows.before[size((at + s.taps - 1) * s.before_stride + c)]
                            : rows.x[size(at * s.stride + c)];
    const double term = x * rows.weight[size(k * rows.weight_stride() + c)];
    sum += term;
    absolute += std::abs(term);
  }
  return {sum, absolute};
}

TEST(CausalConvSilu, AgreesWithTheDefinitionInDouble) {
  for (const Rows& rows : cases()) {
    const ConvShape& s = rows.shape;
    std::vector<float> out(size(s.tokens * s.out_stride), 0);
    causal_conv_silu(s, rows.x.data(), rows.history(), rows.weight.data(), rows.weight_stride(),
                     rows.offset(), out.data());
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t c = 0; c < s.channels; ++c) {
        const auto [sum, absolute] = convolved(rows, t, c);
        // The sum is off by one rounding per term, silu's slope is below 1.1, and its own value by
        // 5 units (exp within 2, a sum, a quotient and a product).
        const double tolerance =
            0x1p-24 * (1.1 * static_cast<double>(s.taps + 1) * absolute + 10 * std::abs(sum));
        EXPECT_NEAR(out[size(t * s.out_stride + c)], sum * sigmoid(sum), tolerance + 1e-37)
            << s.tokens << " tokens, " << s.taps << " taps, " << s.channels << " channels";
      }
    }
  }
}

TEST(CausalConvSiluBackward, AgreesWithTheDerivativeInDouble) {
  for (Rows& rows : cases()) {
    const ConvShape& s = rows.shape;
    rows.has_before = false;
    std::vector<float> dy(size(s.tokens * s.out_stride)), dx(rows.x.size(), 0);
    std::vector<float> dweight(size(s.taps * s.channels), 0), dbias(size(s.channels), 0);
    for (std::size_t i = 0; i < dy.size(); ++i) dy[i] = std::sin(static_cast<float>(i));
    std::vector<double> before_silu(dy.size(), 0);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t c = 0; c < s.channels; ++c) {
        const double x = convolved(rows, t, c)[0], share = sigmoid(x);
        const std::size_t at = size(t * s.out_stride + c);
        before_silu[at] = dy[at] * share * (1 + x * (1 - share));
      }
    }
    causal_conv_silu_backward(s, rows.x.data(), rows.weight.data(), rows.weight_stride(),
                              rows.offset(), dy.data(), dx.data(), dweight.data(),
                              rows.has_bias ? dbias.data() : nullptr);
    // Terms are at most 2 * 2 * 1.1 in size, there are taps or tokens of them, and each is off by
    // the roundings of the sum inside silu (taps of up to 4) and some of its own.
    const double tolerance = 0x1p-24 * 4.4 * static_cast<double>(std::max(s.taps, s.tokens)) *
                             (4 * static_cast<double>(s.taps + 1) + 12);
    for (std::int64_t c = 0; c < s.channels; ++c) {
      double bias = 0;
      for (std::int64_t t = 0; t < s.tokens; ++t) {
        bias += before_silu[size(t * s.out_stride + c)];
        double right = 0;
        for (std::int64_t k = 0; k < s.taps; ++k) {
          const std::int64_t at = t + s.taps - 1 - k;
          if (at >= s.tokens) continue;
          right += before_silu[size(at * s.out_stride + c)] *
                   rows.weight[size(k * rows.weight_stride() + c)];
        }
        EXPECT_NEAR(dx[size(t * s.stride + c)], right, tolerance);
      }
      EXPECT_NEAR(dbias[size(c)], rows.has_bias ? bias : 0, tolerance);
      for (std::int64_t k = 0; k < s.taps; ++k) {
        double right = 0;
        for (std::int64_t t = s.taps - 1 - k; t < s.tokens; ++t) {
          right += before_silu[size(t * s.out_stride + c)] *
                   rows.x[size((t - s.taps + 1 + k) * s.stride + c)];
        }
        EXPECT_NEAR(dweight[size(k * s.channels + c)], right, tolerance);
      }
    }
  }
}

}  // namespace
}  // namespace mnm
