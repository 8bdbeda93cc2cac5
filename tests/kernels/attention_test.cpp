#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

namespace mnm {
namespace {

struct Rows {
  AttentionShape shape;
  std::vector<float> q_k_v, cos, sin;  // rows of [q heads | k | v | two floats of others]
};

Rows random_rows(std::int64_t tokens, std::int64_t head_dim, std::int64_t group, unsigned seed) {
  Rows rows;
  const std::int64_t stride = (group + 2) * head_dim + 2;
  rows.shape = {.tokens = tokens,
                .head_dim = head_dim,
                .group = group,
                .stride = stride,
                .out_stride = group * head_dim + 3};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  rows.q_k_v.resize(static_cast<std::size_t>(tokens * stride));
  for (float& x : rows.q_k_v) x = normal(random);
  for (std::int64_t i = 0; i < tokens * head_dim / 2; ++i) {
    const float angle = 3 * normal(random);
    rows.cos.push_back(std::cos(angle));
    rows.sin.push_back(std::sin(angle));
  }
  return rows;
}

// The definition, in double.
std::vector<double> expected(const Rows& rows) {
  const auto [tokens, dim, group, stride, out_stride] = rows.shape;
  const std::int64_t half = dim / 2;
  const auto rotated = [&](std::int64_t t, std::int64_t head) {
    std::vector<double> x(static_cast<std::size_t>(dim));
    for (std::int64_t i = 0; i < half; ++i) {
      const auto at = static_cast<std::size_t>(t * half + i);
      const double c = rows.cos[at], s = rows.sin[at];
      const double a = rows.q_k_v[static_cast<std::size_t>(t * stride + head * dim + i)];
      const double b = rows.q_k_v[static_cast<std::size_t>(t * stride + head * dim + half + i)];
      x[static_cast<std::size_t>(i)] = a * c - b * s;
      x[static_cast<std::size_t>(half + i)] = b * c + a * s;
    }
    return x;
  };
  std::vector<double> out(static_cast<std::size_t>(tokens * out_stride), 0);
  for (std::int64_t h = 0; h < group; ++h) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::vector<double> q = rotated(t, h);
      std::vector<double> weights;
      double sum = 0;
      for (std::int64_t s = 0; s <= t; ++s) {
        const std::vector<double> k = rotated(s, group);
        double product = 0;
        for (std::size_t i = 0; i < k.size(); ++i) product += q[i] * k[i];
        weights.push_back(std::exp(product / std::sqrt(static_cast<double>(dim))));
        sum += weights.back();
      }
      for (std::int64_t i = 0; i < dim; ++i) {
        double& value = out[static_cast<std::size_t>(t * out_stride + h * dim + i)];
        for (std::int64_t s = 0; s <= t; ++s) {
          const auto at = static_cast<std::size_t>(s * stride + (group + 1) * dim + i);
          value += weights[static_cast<std::size_t>(s)] / sum * rows.q_k_v[at];
        }
      }
    }
  }
  return out;
}

std::vector<float> computed(Rows rows) {
  const std::int64_t dim = rows.shape.head_dim, group = rows.shape.group;
  std::vector<float> out(static_cast<std::size_t>(rows.shape.tokens * rows.shape.out_stride), 0);
  std::vector<float> work(
      static_cast<std::size_t>(attention_work(rows.shape)),
      std::numeric_limits<float>::quiet_NaN());  // nothing may be expected of it
  float* const q = rows.q_k_v.data();
  causal_attention(rows.shape, q, q + group * dim, q + (group + 1) * dim, rows.cos.data(),
                   rows.sin.data(), out.data(), work.data());
  return out;
}

TEST(CausalAttention, AgreesWithTheDefinitionInDouble) {
  for (const std::int64_t tokens : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 64, 130}) {
    for (const auto& [dim, group] : {std::pair{16, 1}, {16, 3}, {32, 1}, {48, 2}, {128, 1}}) {
      const Rows rows = random_rows(tokens, dim, group, static_cast<unsigned>(tokens));
      const std::vector<double> right = expected(rows);
      const std::vector<float> out = computed(rows);
      ASSERT_EQ(out.size(), right.size());
      // A score is a sum of `dim` products of rotated values, each at most 4 sigma * sqrt(2): it is
      // off by dim epsilon of |q| |k| / sqrt(dim) < 32, the weight by as much, relatively. The mean
      // of v, at most 4, then is off by twice that and by its own sum over the tokens.
      const double epsilon = 1.0 / (1 << 24);
      const double tolerance =
          epsilon * 4 * (2 * std::sqrt(dim) * 32 + static_cast<double>(tokens));
      for (std::size_t i = 0; i < out.size(); ++i) {
        EXPECT_NEAR(out[i], right[i], tolerance)
            << tokens << " tokens, head_dim " << dim << ", group " << group << ", at " << i;
      }
    }
  }
}

TEST(CausalAttention, NoTokenSeesALaterOne) {
  const Rows rows = random_rows(37, 16, 2, 9);
  const std::vector<float> before = computed(rows);
  for (std::int64_t t = 0; t < rows.shape.tokens; ++t) {
    Rows changed = rows;
    const auto stride = static_cast<std::size_t>(rows.shape.stride);
    for (std::size_t i = static_cast<std::size_t>(t) * stride; i < changed.q_k_v.size(); ++i) {
      changed.q_k_v[i] += 1;
    }
    const std::vector<float> after = computed(changed);
    const auto same = static_cast<std::size_t>(t * rows.shape.out_stride);
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(same),
                           after.begin()))
        << t;
    EXPECT_NE(before[same], after[same]);
  }
}

TEST(CausalAttention, NaNAndLargeScores) {
  Rows rows = random_rows(20, 16, 1, 3);
  for (float& x : rows.q_k_v) x *= 1e4f;  // scores of 1e8: weights are one-hot, none overflows
  for (const float x : computed(rows)) EXPECT_TRUE(std::isfinite(x));
  rows.q_k_v[5 * static_cast<std::size_t>(rows.shape.stride)] =
      std::numeric_limits<float>::quiet_NaN();  // in q of token 5, which no other reads
  const std::vector<float> out = computed(rows);
  for (std::int64_t t = 0; t < 20; ++t) {
    EXPECT_EQ(std::isnan(out[static_cast<std::size_t>(t * rows.shape.out_stride)]), t == 5) << t;
  }
}

}  // namespace
}  // namespace mnm
