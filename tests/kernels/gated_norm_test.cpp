#include "kernels/gated_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace mnm {
namespace {

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Rows {
  GatedShape shape;
  std::vector<float> y, z, weight;
};

std::vector<Rows> cases() {
  std::vector<Rows> all;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> unit(-3, 3);
  for (const std::int64_t tokens : {1, 5}) {
    for (const std::int64_t channels : {1, 2, 15, 16, 17, 100}) {
      Rows& rows = all.emplace_back();
      rows.shape = {.tokens = tokens,
                    .channels = channels,
                    .y_stride = channels + 1,
                    .z_stride = channels + 4,
                    .out_stride = channels + 2};
      for (std::int64_t i = 0; i < tokens * (channels + 4); ++i) {
        rows.y.push_back(unit(random));
        rows.z.push_back(unit(random));
      }
      for (std::int64_t i = 0; i < channels; ++i) rows.weight.push_back(unit(random));
    }
  }
  return all;
}

double gated(const Rows& rows, std::int64_t t, std::int64_t i) {
  const double z = rows.z[size(t * rows.shape.z_stride + i)];
  return rows.y[size(t * rows.shape.y_stride + i)] * z / (1 + std::exp(-z));
}

double square(const Rows& rows, std::int64_t t, std::int64_t width) {
  double sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += gated(rows, t, i) * gated(rows, t, i);
  return sum;
}

TEST(GateRows, GivesProductsAndTheSquaresOfEveryWidth) {
  for (const Rows& rows : cases()) {
    const GatedShape& s = rows.shape;
    std::vector<std::int64_t> widths;
    for (const std::int64_t width : {std::int64_t{1}, s.channels / 2, s.channels - 1, s.channels}) {
      if (width > (widths.empty() ? 0 : widths.back())) widths.push_back(width);
    }
    std::vector<float> out(size(s.tokens * s.out_stride), 0),
        squares(size(s.tokens) * widths.size());
    gate_rows(s, rows.y.data(), rows.z.data(), rows.weight.data(), widths, out.data(),
              squares.data());
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t i = 0; i < s.channels; ++i) {
        const double right = gated(rows, t, i) * rows.weight[size(i)];
        EXPECT_NEAR(out[size(t * s.out_stride + i)], right, 6 * 0x1p-23 * std::abs(right));
      }
      for (std::size_t k = 0; k < widths.size(); ++k) {
        // Each term is off by twice g's 5 units and its own, the sum by one per term.
        const double right = square(rows, t, widths[k]);
        EXPECT_NEAR(squares[size(t) * widths.size() + k], right,
                    right * 0x1p-24 * (24 + static_cast<double>(widths[k])));
      }
    }
    // In place.
    Rows same = rows;
    GatedShape shape = s;
    shape.out_stride = s.y_stride;
    gate_rows(shape, same.y.data(), same.z.data(), same.weight.data(), widths, same.y.data(),
              squares.data());
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t i = 0; i < s.channels; ++i) {
        EXPECT_EQ(same.y[size(t * s.y_stride + i)], out[size(t * s.out_stride + i)]);
      }
    }
  }
}

constexpr double kEpsilon = 1e-5;

double normed(const Rows& rows, std::int64_t t, std::int64_t i) {
  const double mean =
      square(rows, t, rows.shape.channels) / static_cast<double>(rows.shape.channels);
  return gated(rows, t, i) * rows.weight[size(i)] / std::sqrt(mean + kEpsilon);
}

TEST(GatedNorm, AgreesWithTheDefinitionInDouble) {
  for (const Rows& rows : cases()) {
    const GatedShape& s = rows.shape;
    std::vector<float> out(size(s.tokens * s.out_stride), 0);
    gated_norm(s, rows.y.data(), rows.z.data(), rows.weight.data(), static_cast<float>(kEpsilon),
               out.data());
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t i = 0; i < s.channels; ++i) {
        const double right = normed(rows, t, i);
        EXPECT_NEAR(out[size(t * s.out_stride + i)], right,
                    std::abs(right) * 0x1p-24 * (40 + static_cast<double>(s.channels)));
      }
    }
  }
}

TEST(GatedNormBackward, AgreesWithTheDerivativeInDouble) {
  for (const Rows& rows : cases()) {
    const GatedShape& s = rows.shape;
    const auto n = static_cast<double>(s.channels);
    std::vector<float> dout(size(s.tokens * s.out_stride));
    for (std::size_t i = 0; i < dout.size(); ++i) dout[i] = std::cos(static_cast<float>(i));
    std::vector<float> dy(rows.y.size(), 0), dz(rows.z.size(), 0), dweight(size(s.channels), 0);
    gated_norm_backward(s, rows.y.data(), rows.z.data(), rows.weight.data(),
                        static_cast<float>(kEpsilon), dout.data(), dy.data(), dz.data(),
                        dweight.data());
    std::vector<double> right_weight(size(s.channels), 0);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      const double scale = 1 / std::sqrt(square(rows, t, s.channels) / n + kEpsilon);
      double along = 0, largest = 0;
      for (std::int64_t i = 0; i < s.channels; ++i) {
        const double back = rows.weight[size(i)] * dout[size(t * s.out_stride + i)];
        along += gated(rows, t, i) * back;
        largest = std::max({largest, std::abs(back), std::abs(gated(rows, t, i)) * scale});
      }
      // dg is the difference of two terms of that size at most; gates and their slopes are below 4,
      // y below 3.
      const double tolerance =
          0x1p-24 * (60 + 2 * n) * scale * (largest + 1) * (largest + 1) * 4 * std::sqrt(n);
      for (std::int64_t i = 0; i < s.channels; ++i) {
        const double g = gated(rows, t, i), z = rows.z[size(t * s.z_stride + i)];
        const double y = rows.y[size(t * s.y_stride + i)], share = 1 / (1 + std::exp(-z));
        const double d = dout[size(t * s.out_stride + i)];
        const double dg = scale * (rows.weight[size(i)] * d - g * scale * scale * along / n);
        right_weight[size(i)] += g * scale * d;
        EXPECT_NEAR(dy[size(t * s.y_stride + i)], dg * z * share, tolerance);
        EXPECT_NEAR(dz[size(t * s.z_stride + i)], dg * y * share * (1 + z * (1 - share)),
                    tolerance);
      }
    }
    for (std::int64_t i = 0; i < s.channels; ++i) {
      // A normed value is at most the root of the number of channels.
      EXPECT_NEAR(dweight[size(i)], right_weight[size(i)],
                  0x1p-24 * static_cast<double>(s.tokens) * std::sqrt(n) * (60 + n));
    }
  }
}

}  // namespace
}  // namespace mnm
