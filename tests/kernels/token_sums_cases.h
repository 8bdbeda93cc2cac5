// Rows of logits to read in chunks, and what they must give: for the host's loop and a device
// alike.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/token_sums.h"

namespace mnm::test {

struct TokenCase {
  Element element = Element::kF32;
  std::int64_t rows = 1, period = 1, vocab = 1;
  std::int64_t words = 1;    // of a chunk
  std::int64_t padding = 0;  // elements between rows
  bool reference = false;
  float spread = 3, centre = 0;

  // Made from them: rows `stride()` elements apart, and the same as floats, [rows, vocab].
  std::vector<std::byte> logits{}, full{};
  std::vector<float> x{}, a{};
  std::vector<std::int64_t> targets{};

  std::int64_t stride() const { return vocab + padding; }
  std::int64_t chunks() const { return (vocab + words - 1) / words; }
  std::int64_t element_size() const { return element == Element::kF32 ? 4 : 2; }
  std::string name() const {
    return std::to_string(rows) + " rows of " + std::to_string(vocab) + " words, " +
           std::to_string(words) + " at once, period " + std::to_string(period) + ", element " +
           std::to_string(static_cast<int>(element)) + (reference ? ", reference" : "");
  }
};

inline std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// Random values in the element's precision, and NaN between the rows.
inline void fill(TokenCase& c, unsigned seed) {
  std::mt19937 random(seed);
  const auto matrix = [&](std::int64_t rows, float centre, float spread,
                          std::vector<std::byte>& bytes, std::vector<float>& values) {
    std::normal_distribution<float> normal(centre, spread);
    with_element(c.element, [&](auto kind) {
      using T = decltype(kind);
      std::vector<T> stored(index(rows * c.stride()), from_float<T>(NAN));
      values.clear();
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t v = 0; v < c.vocab; ++v) {
          const T x = from_float<T>(normal(random));
          stored[index(r * c.stride() + v)] = x;
          values.push_back(to_float(x));
        }
      }
      bytes.resize(stored.size() * sizeof(T));
      if (!bytes.empty()) memcpy(bytes.data(), stored.data(), bytes.size());
    });
  };
  matrix(c.rows, c.centre, c.spread, c.logits, c.x);
  if (c.reference) matrix(c.period, c.centre / 2, c.spread, c.full, c.a);
  c.targets.clear();
  for (std::int64_t t = 0; t < c.period; ++t) {
    c.targets.push_back(static_cast<std::int64_t>(random() % static_cast<unsigned>(c.vocab)));
  }
}

// Widths of the vocabulary below, at and above a thread's group and a block's round; one word, one
// row, none; rows that start on no vector's boundary; flat, peaked and shifted.
inline std::vector<TokenCase> token_cases() {
  std::vector<TokenCase> cases;
  for (const Element element : {Element::kF32, Element::kBF16, Element::kF16}) {
    for (const bool reference : {false, true}) {
      for (const std::int64_t vocab : {1, 2, 7, 8, 9, 255, 1023, 1024, 1025, 5003}) {
        for (const std::int64_t words :
             {std::int64_t{3}, std::int64_t{8}, std::int64_t{1000}, vocab}) {
          if (words < 9 && vocab > (words < 8 ? 300 : 2000)) continue;
          for (const std::int64_t padding : {0, 5, 8}) {
            cases.push_back({.element = element,
                             .rows = 6,
                             .period = 2,
                             .vocab = vocab,
                             .words = words,
                             .padding = padding,
                             .reference = reference});
          }
        }
      }
      const auto add = [&](std::int64_t rows, std::int64_t period, std::int64_t vocab, float spread,
                           float centre) {
        cases.push_back({.element = element,
                         .rows = rows,
                         .period = period,
                         .vocab = vocab,
                         .words = 512,
                         .reference = reference,
                         .spread = spread,
                         .centre = centre});
      };
      add(0, 1, 9, 3, 0);
      add(1, 1, 1, 3, 0);
      add(1, 1, 700, 3, 0);
      add(7, 7, 700, 0, 4);
      add(5, 1, 2048, 40, 0);
      add(4, 4, 2048, 3, 300);
      add(3, 3, 50280, 6, -9);
    }
  }
  for (std::size_t i = 0; i < cases.size(); ++i) fill(cases[i], static_cast<unsigned>(i));
  return cases;
}

struct TokenResult {
  std::vector<TokenSums> sums;
  std::vector<float> loss, accuracy, kl, agreement, acceptance;
};

// The chunks of a case whose matrices and targets lie at these addresses.
inline std::vector<LogitChunk> chunks_of(const TokenCase& c, const void* logits, const void* full,
                                         const std::int64_t* targets) {
  std::vector<LogitChunk> chunks;
  for (std::int64_t first = 0; first < c.vocab; first += c.words) {
    const std::int64_t at = first * c.element_size();
    chunks.push_back({.element = c.element,
                      .rows = c.rows,
                      .period = c.period,
                      .first = first,
                      .words = std::min(c.words, c.vocab - first),
                      .logits = static_cast<const std::byte*>(logits) + at,
                      .stride = c.stride(),
                      .full = c.reference ? static_cast<const std::byte*>(full) + at : nullptr,
                      .full_stride = c.stride(),
                      .targets = targets});
  }
  return chunks;
}

// With u = 2^-24. A term exp(x - max) is off by (2 + |x - max|) u of itself, and weighs exp(x -
// max), so the largest |x - max| matters no more than 1 does; adding n of them rounds n times at
// most, rescaling a sum 3 more, and all rescalings together by the range of the logits, |max -
// first max|.
inline double sum_error(double roundings, double range) {
  return 0x1p-24 * (3 + roundings + range);
}

// In a device's blocks: a thread adds eight terms a round, and one sum a round, lanes merge in five
// steps, warps in three, chunks one by one.
inline double roundings_of_blocks(const TokenCase& c) {
  const double rounds = std::ceil(static_cast<double>(c.words) / (kRowThreads * kTogether));
  return 8 + 4 * rounds + 4 * (5 + 3 + static_cast<double>(c.chunks()));
}

inline void check_tokens(const TokenCase& c, const TokenResult& result, double roundings) {
  ASSERT_EQ(result.loss.size(), index(c.rows));
  double range = 1;
  for (const float x : c.x) range = std::max(range, 2 * std::abs(double{x}));
  for (const float x : c.a) range = std::max(range, 2 * std::abs(double{x}));
  const double sums_error = sum_error(roundings, range);
  // max - target, the logarithm and their sum round once each.
  const double loss_error =
      sums_error + 0x1p-24 * (2 * range + 2 * std::log(static_cast<double>(c.vocab)) + 2);
  for (std::int64_t r = 0; r < c.rows; ++r) {
    const std::int64_t token = r % c.period;
    const float* const a = c.reference ? c.a.data() + token * c.vocab : nullptr;
    const TokenScores expected =
        score_token_plainly(c.x.data() + r * c.vocab, a, c.vocab, c.targets[index(token)]);
    const TokenSums& sums = result.sums[index(r)];
    EXPECT_NEAR(result.loss[index(r)], expected.loss, loss_error) << c.name() << ", row " << r;
    EXPECT_NEAR(double{sums.max} + std::log(double{sums.sum}), expected.log_sum, loss_error)
        << c.name() << ", row " << r;
    EXPECT_EQ(sums.best, expected.best) << c.name() << ", row " << r;
    EXPECT_EQ(result.accuracy[index(r)], static_cast<float>(expected.accuracy))
        << c.name() << ", row " << r;
    if (!c.reference) continue;
    // A mean under p of a - x, each rounded once, its weights off by twice the sums' error; then a
    // difference of two log-sums.
    double apart = 0;
    for (std::int64_t v = 0; v < c.vocab; ++v) {
      apart = std::max(apart, std::abs(double{a[v]} - double{c.x[index(r * c.vocab + v)]}));
    }
    const double kl_error = (2 * sums_error + 0x1p-23) * apart + 2 * loss_error;
    EXPECT_NEAR(result.kl[index(r)], expected.kl, kl_error) << c.name() << ", row " << r;
    EXPECT_EQ(result.agreement[index(r)], static_cast<float>(expected.agreement))
        << c.name() << ", row " << r;
    // Each term is the exponential of a log-probability, which is off by the error of its own
    // logarithm of a sum; the terms are at most a whole probability, added as the sums are.
    EXPECT_NEAR(result.acceptance[index(r)], expected.acceptance, loss_error + sums_error)
        << c.name() << ", row " << r;
  }
}

}  // namespace mnm::test
