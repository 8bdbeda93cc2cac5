#include "kernels/cached_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace mnm {
namespace {

struct Case {
  std::int64_t tokens, position, group, head_dim, window;
  std::vector<std::int64_t> ends;     // of the pieces that the keys lie in
  std::vector<std::int64_t> skipped;  // positions that are not kept
};

std::vector<float> numbers(std::size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> all(count);
  for (float& v : all) v = normal(random);
  return all;
}

// What the header says, in double.
std::vector<double> expected(const Case& c, const std::vector<float>& q,
                             const std::vector<float>& k, const std::vector<float>& v) {
  std::vector<double> out(q.size(), 0);
  for (std::int64_t row = 0; row < c.tokens * c.group; ++row) {
    const std::int64_t at = c.position + row / c.group;
    std::vector<std::pair<std::int64_t, double>> scores;
    double sum = 0;
    for (std::int64_t s = 0; s <= at; ++s) {
      if (std::ranges::find(c.skipped, s) != c.skipped.end()) continue;
      if (c.window > 0 && s <= at - c.window) continue;
      double dot = 0;
      for (std::int64_t d = 0; d < c.head_dim; ++d) {
        dot += static_cast<double>(q[static_cast<std::size_t>(row * c.head_dim + d)]) *
               static_cast<double>(k[static_cast<std::size_t>(s * c.head_dim + d)]);
      }
      scores.emplace_back(s, std::exp(dot / std::sqrt(static_cast<double>(c.head_dim))));
      sum += scores.back().second;
    }
    for (const auto& [s, weight] : scores) {
      for (std::int64_t d = 0; d < c.head_dim; ++d) {
        out[static_cast<std::size_t>(row * c.head_dim + d)] +=
            weight / sum * static_cast<double>(v[static_cast<std::size_t>(s * c.head_dim + d)]);
      }
    }
  }
  return out;
}

// As many bf16 numbers; `numbers` become what they stand for.
std::vector<Bf16> rounded(std::vector<float>& numbers) {
  std::vector<Bf16> all;
  for (float& x : numbers) {
    all.push_back(from_float<Bf16>(x));
    x = to_float(all.back());
  }
  return all;
}

class CachedAttentionOf : public testing::TestWithParam<Element> {};

TEST_P(CachedAttentionOf, IsTheDefinitionInDouble) {
  std::mt19937 random(5);
  const bool single = GetParam() == Element::kF32;
  for (const Case& c : {Case{1, 0, 1, 8, 0, {1}, {}},
                        {1, 199, 4, 16, 0, {64, 128, 192, 200}, {}},
                        {5, 60, 3, 24, 0, {64, 65}, {}},
                        {16, 100, 1, 8, 7, {64, 116}, {}},
                        {3, 150, 2, 16, 40, {64, 128, 153}, {0, 1, 120, 121, 140}},
                        {2, 3, 8, 64, 0, {5}, {0, 2}}}) {
    const std::int64_t end = c.position + c.tokens;
    const auto row = static_cast<std::size_t>(c.group * c.head_dim);
    const std::vector<float> q = numbers(static_cast<std::size_t>(c.tokens) * row, random);
    std::vector<float> k = numbers(static_cast<std::size_t>(end * c.head_dim), random);
    std::vector<float> v = numbers(k.size(), random);
    std::vector<Bf16> stored_k, stored_v;
    if (!single) {
      stored_k = rounded(k);
      stored_v = rounded(v);
    }
    std::vector<KeptKeys> kept;
    std::int64_t begin = 0;
    const auto add = [&](std::int64_t to) {
      const std::int64_t at = begin * c.head_dim;
      if (begin >= to) return;
      if (single) {
        kept.push_back({k.data() + at, v.data() + at, begin, to});
      } else {
        kept.push_back({stored_k.data() + at, stored_v.data() + at, begin, to});
      }
    };
    for (const std::int64_t stop : c.ends) {
      for (const std::int64_t gap : c.skipped) {
        if (gap < begin || gap >= stop) continue;
        add(gap);
        begin = gap + 1;
      }
      add(stop);
      begin = stop;
    }
    std::vector<float> out(q.size());
    const CachedAttention attention = {.tokens = c.tokens,
                                       .position = c.position,
                                       .group = c.group,
                                       .head_dim = c.head_dim,
                                       .window = c.window,
                                       .kept = GetParam(),
                                       .queries = q.data(),
                                       .query_stride = static_cast<std::int64_t>(row),
                                       .out = out.data(),
                                       .out_stride = static_cast<std::int64_t>(row)};
    std::vector<float> work(static_cast<std::size_t>(cached_attention_work(attention)));
    cached_attention(attention, kept, work.data());
    const std::vector<double> right = expected(c, q, k, v);
    double largest = 0;
    for (const float x : v) largest = std::max(largest, std::abs(static_cast<double>(x)));
    // Scores below 30 are off by as many roundings as a head has elements, and so are weights by
    // that share; sums over the keys round once for each.
    const double roundings = 2 * (30 * static_cast<double>(c.head_dim) + static_cast<double>(end));
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_NEAR(out[i], right[i], roundings * 0x1p-24 * largest) << c.position << " at " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CachedAttentionOf, testing::Values(Element::kF32, Element::kBF16),
                         [](const auto& of) { return of.param == Element::kF32 ? "F32" : "Bf16"; });

}  // namespace
}  // namespace mnm
