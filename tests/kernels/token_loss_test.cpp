#include "kernels/token_loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace mnm {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kEpsilon = 1.0 / (1 << 24);

struct Rows {
  std::int64_t vocab;
  std::vector<float> logits;
  std::vector<std::int64_t> targets;
  std::int64_t rows() const { return static_cast<std::int64_t>(targets.size()); }
};

Rows random_rows(std::int64_t rows, std::int64_t vocab, float spread, float centre, unsigned seed) {
  Rows result{vocab, {}, {}};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(centre, spread);
  for (std::int64_t i = 0; i < rows * vocab; ++i) result.logits.push_back(normal(random));
  for (std::int64_t i = 0; i < rows; ++i) {
    result.targets.push_back(static_cast<std::int64_t>(random() % static_cast<unsigned>(vocab)));
  }
  return result;
}

double log_sum_of(const float* logits, std::int64_t vocab) {
  const double max = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (std::int64_t v = 0; v < vocab; ++v) sum += std::exp(logits[v] - max);
  return max + std::log(sum);
}

struct Shape {
  std::int64_t rows, vocab;
  float spread, centre;
};
// Below, at and above the blocks that are summed at once; flat, peaked and shifted.
const Shape kShapes[] = {{3, 1, 1, 0},      {5, 2, 3, 0},     {4, 31, 3, 0},   {4, 32, 3, 0},
                         {4, 33, 3, 0},     {7, 256, 5, 0},   {7, 256, 0, 4},  {5, 257, 40, 0},
                         {3, 2048, 3, 500}, {3, 2049, 3, -9}, {2, 50280, 6, 0}};

// max - logit rounds at the size of the logits' range, log at its own, and each lane sums up to 64
// terms, in blocks, of relative error 4 epsilon: 70 epsilon on the sum are 70 on its logarithm.
double tolerance(const Rows& rows) {
  float range = 1;
  for (const float x : rows.logits) range = std::max(range, std::abs(x));
  return kEpsilon * (70 + 2 * 2 * static_cast<double>(range));
}

TEST(TokenLoss, AgreesWithTheDefinitionInDouble) {
  for (const Shape& shape : kShapes) {
    const Rows rows = random_rows(shape.rows, shape.vocab, shape.spread, shape.centre, 1);
    std::vector<float> losses(rows.targets.size()), accuracy = losses;
    token_losses(rows.logits.data(), rows.vocab, rows.targets.data(), losses, accuracy.data());
    for (std::int64_t r = 0; r < rows.rows(); ++r) {
      const float* logits = rows.logits.data() + r * rows.vocab;
      const auto i = static_cast<std::size_t>(r);
      EXPECT_NEAR(losses[i], log_sum_of(logits, rows.vocab) - logits[rows.targets[i]],
                  tolerance(rows))
          << "vocab " << rows.vocab << " row " << r;
      const auto best = std::max_element(logits, logits + rows.vocab) - logits;  // the first one
      EXPECT_EQ(accuracy[i], best == rows.targets[i] ? 1.0f : 0.0f);
    }
  }
}

TEST(TokenLoss, OfEquallyLikelyTargetsTheFirstIsAccurate) {
  for (const std::int64_t vocab : {2, 31, 33, 300}) {
    for (std::int64_t target = 0; target < vocab; ++target) {
      std::vector<float> logits(static_cast<std::size_t>(vocab), 0.0f);
      float loss = 0, accuracy = 7;
      token_losses(logits.data(), vocab, &target, {&loss, 1}, &accuracy);
      EXPECT_EQ(accuracy, target == 0 ? 1.0f : 0.0f) << target << " of " << vocab;
      logits[static_cast<std::size_t>(target)] = 1;
      token_losses(logits.data(), vocab, &target, {&loss, 1}, &accuracy);
      EXPECT_EQ(accuracy, 1.0f) << target << " of " << vocab;
    }
  }
}

TEST(TokenLoss, ConsistencyAgreesWithTheDefinitionInDouble) {
  for (const Shape& shape : kShapes) {
    const Rows full = random_rows(shape.rows, shape.vocab, shape.spread, shape.centre, 2);
    Rows rows = random_rows(shape.rows, shape.vocab, shape.spread / 4, 0, 3);
    for (std::size_t i = 0; i < rows.logits.size(); ++i) rows.logits[i] += full.logits[i];
    std::vector<float> reference(full.logits.size());
    log_probabilities(full.logits.data(), full.vocab, full.rows(), reference.data());
    std::vector<float> losses(rows.targets.size()), kl = losses, agree = losses, alone = losses,
                                                    accuracy = losses, accurate_alone = losses,
                                                    acceptance = losses;
    token_consistency(rows.logits.data(), reference.data(), rows.vocab, rows.targets.data(), losses,
                      accuracy.data(), {kl.data(), agree.data(), acceptance.data()});
    token_losses(rows.logits.data(), rows.vocab, rows.targets.data(), alone, accurate_alone.data());
    EXPECT_EQ(losses, alone);
    EXPECT_EQ(accuracy, accurate_alone);
    const double of_full = tolerance(full), of_both = of_full + tolerance(rows);
    for (std::int64_t r = 0; r < rows.rows(); ++r) {
      const float *p = full.logits.data() + r * rows.vocab,
                  *q = rows.logits.data() + r * rows.vocab;
      const double log_p = log_sum_of(p, rows.vocab), log_q = log_sum_of(q, rows.vocab);
      double expected = 0, kept = 0;
      for (std::int64_t v = 0; v < rows.vocab; ++v) {
        expected += std::exp(p[v] - log_p) * ((p[v] - log_p) - (q[v] - log_q));
        kept += std::exp(std::min(p[v] - log_p, q[v] - log_q));
        EXPECT_NEAR(reference[static_cast<std::size_t>(r * rows.vocab + v)], p[v] - log_p, of_full);
      }
      const auto i = static_cast<std::size_t>(r);
      // A mean, under p, of differences of two log-probabilities; p itself is off by their error.
      EXPECT_NEAR(kl[i], expected, 2 * of_both * (1 + expected))
          << "vocab " << rows.vocab << " row " << r;
      // A sum of probabilities, each the exponential of a logarithm that is off by either's error.
      EXPECT_NEAR(acceptance[i], kept, of_both) << "vocab " << rows.vocab << " row " << r;
      const auto best = std::max_element(p, p + rows.vocab) - p;
      EXPECT_EQ(agree[i], q[best] == *std::max_element(q, q + rows.vocab) ? 1.0f : 0.0f);
    }
  }
}

TEST(TokenLoss, AModelComparedWithItselfDiffersInNothing) {
  const Rows rows = random_rows(6, 300, 4, 0, 4);
  std::vector<float> reference(rows.logits.size());
  log_probabilities(rows.logits.data(), rows.vocab, rows.rows(), reference.data());
  std::vector<float> losses(6), kl(6), agree(6), acceptance(6);
  token_consistency(rows.logits.data(), reference.data(), rows.vocab, rows.targets.data(), losses,
                    nullptr, {kl.data(), agree.data(), acceptance.data()});
  EXPECT_EQ(kl, std::vector<float>(6, 0.0f));
  for (const float accepted : acceptance) EXPECT_NEAR(accepted, 1, tolerance(rows));
  EXPECT_EQ(agree, std::vector<float>(6, 1.0f));
}

TEST(TokenLoss, ValuesThatAreNoNumbersStayInTheirRow) {
  for (const std::int64_t vocab : {3, 32, 100, 2100}) {
    for (const std::int64_t at : {std::int64_t{0}, vocab / 2, vocab - 1}) {
      struct Case {
        float value;
        bool sound;
      };
      for (const Case& c : {Case{kNaN, false}, Case{kInf, false}, Case{-kInf, true},
                            Case{-1e38f, true}, Case{3e38f, true}}) {
        Rows rows = random_rows(3, vocab, 1, 0, 5);
        std::vector<float> after(3);
        rows.logits[static_cast<std::size_t>(vocab + at)] = c.value;
        for (std::int64_t& target : rows.targets) target = (at + 1) % vocab;
        token_losses(rows.logits.data(), vocab, rows.targets.data(), after, nullptr);
        EXPECT_EQ(std::isnan(after[1]), !c.sound) << c.value << " at " << at << " of " << vocab;
        EXPECT_FALSE(std::isnan(after[0]) || std::isnan(after[2]));
        if (c.value == -kInf) {
          Rows without = rows;  // a word of probability 0 is as good as none
          without.logits[static_cast<std::size_t>(vocab + at)] = -1e30f;
          std::vector<float> same(3);
          token_losses(without.logits.data(), vocab, without.targets.data(), same, nullptr);
          EXPECT_EQ(same, after);
        }
      }
    }
  }
  const std::vector<float> none(8, -kInf);
  const std::int64_t target = 2;
  float loss = 0;
  token_losses(none.data(), 8, &target, {&loss, 1}, nullptr);
  EXPECT_TRUE(std::isnan(loss));
}

}  // namespace
}  // namespace mnm
