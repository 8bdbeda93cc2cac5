// The CUDA kernels' arithmetic, in their blocks and threads, on the host, and the CPU's own kernel.
#include "kernels/token_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "tests/kernels/token_sums_cases.h"

namespace mnm {
namespace {

using test::index;
using test::TokenCase;
using test::TokenResult;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Reader {
  void (*read)(const LogitChunk&, TokenSums*);
  void (*accept)(const LogitChunk&, const TokenSums*, float*);
  double (*roundings)(const TokenCase&);
  bool f32_alone;

  const char* name() const { return f32_alone ? "Vectors" : "Blocks"; }
  friend void PrintTo(const Reader& reader, std::ostream* out) { *out << reader.name(); }
};

void read_in_vectors(const LogitChunk& chunk, TokenSums* sums) {
  const std::int64_t middle = chunk.rows / 3;  // as threads may divide them
  read_logits_cpu(chunk, middle, chunk.rows, sums);
  read_logits_cpu(chunk, 0, middle, sums);
}

void accept_in_vectors(const LogitChunk& chunk, const TokenSums* sums, float* acceptance) {
  const std::int64_t middle = chunk.rows / 3;
  add_acceptance_cpu(chunk, middle, chunk.rows, sums, acceptance);
  add_acceptance_cpu(chunk, 0, middle, sums, acceptance);
}

// 64 terms a lane, 32 lanes in order, pieces of 2,048 words as chunks are.
double roundings_of_vectors(const TokenCase& c) {
  return 64 + 32 + 4 * static_cast<double>(c.vocab / 2048 + 1 + c.chunks());
}

const Reader kReaders[] = {{read_logits, add_acceptance, test::roundings_of_blocks, false},
                           {read_in_vectors, accept_in_vectors, roundings_of_vectors, true}};

class TokenSumsOf : public testing::TestWithParam<Reader> {
 protected:
  static std::vector<TokenCase> cases() {
    std::vector<TokenCase> all = test::token_cases();
    if (GetParam().f32_alone) {
      std::erase_if(all, [](const TokenCase& c) { return c.element != Element::kF32; });
    }
    return all;
  }
  static TokenResult run(const TokenCase& c);
  static TokenResult one_row(std::vector<float> x, std::vector<float> a, std::int64_t target,
                             std::int64_t words);
};

TokenResult TokenSumsOf::run(const TokenCase& c) {
  TokenResult result;
  const std::size_t rows = index(c.rows);
  result.sums.resize(rows, {kNaN, kNaN, kNaN, 7, 7, kNaN, kNaN, kNaN, kNaN});
  for (auto* values :
       {&result.loss, &result.accuracy, &result.kl, &result.agreement, &result.acceptance}) {
    values->assign(rows, kNaN);
  }
  const std::vector<LogitChunk> chunks =
      test::chunks_of(c, c.logits.data(), c.full.data(), c.targets.data());
  for (const LogitChunk& chunk : chunks) GetParam().read(chunk, result.sums.data());
  score_tokens(result.sums.data(), c.rows, c.targets.data(), c.period,
               {result.loss.data(), result.accuracy.data(),
                c.reference ? result.kl.data() : nullptr, result.agreement.data()});
  if (!c.reference) return result;
  for (const LogitChunk& chunk : chunks) {
    GetParam().accept(chunk, result.sums.data(), result.acceptance.data());
  }
  return result;
}

TEST_P(TokenSumsOf, AgreeWithTheDefinitionInDouble) {
  for (const TokenCase& c : cases()) test::check_tokens(c, run(c), GetParam().roundings(c));
}

// One row of floats, against a reference where `a` has any.
TokenResult TokenSumsOf::one_row(std::vector<float> x, std::vector<float> a, std::int64_t target,
                                 std::int64_t words) {
  TokenCase c;
  c.vocab = static_cast<std::int64_t>(x.size());
  c.words = words;
  c.reference = !a.empty();
  const auto bytes = [](const std::vector<float>& values) {
    const auto* const first = reinterpret_cast<const std::byte*>(values.data());
    return std::vector<std::byte>(first, first + values.size() * sizeof(float));
  };
  c.logits = bytes(x);
  c.full = bytes(a);
  c.targets = {target};
  return run(c);
}

TEST_P(TokenSumsOf, AModelComparedWithItselfDiffersInNothing) {
  for (TokenCase c : cases()) {
    if (!c.reference) continue;
    c.rows = c.period;
    c.logits = c.full;
    const TokenResult result = run(c);
    EXPECT_EQ(result.kl, std::vector<float>(index(c.rows), 0.0f)) << c.name();
    EXPECT_EQ(result.agreement, std::vector<float>(index(c.rows), 1.0f)) << c.name();
    for (const float accepted : result.acceptance) {  // the sum of its own probabilities
      EXPECT_NEAR(accepted, 1, 2 * test::sum_error(GetParam().roundings(c), 400)) << c.name();
    }
  }
}

TEST_P(TokenSumsOf, OfEquallyLikelyWordsTheFirstCountsAndATieAgrees) {
  for (const std::int64_t vocab : {2, 8, 9, 64, 1025, 3000}) {
    for (const std::int64_t words : {std::int64_t{7}, std::int64_t{1024}, vocab}) {
      for (const std::int64_t first : {std::int64_t{0}, vocab / 3, vocab - 2}) {
        std::vector<float> x(index(vocab), 0.0f), a = x;
        x[index(vocab - 1)] = x[index(first)] = 2;
        a[index(vocab - 1)] = a[index(first)] = 3;
        const TokenResult result = one_row(x, a, 0, words);
        EXPECT_EQ(result.sums[0].best, first) << vocab << ", " << words;
        EXPECT_EQ(result.sums[0].full_best, first) << vocab << ", " << words;
        EXPECT_EQ(result.agreement[0], 1.0f);
        EXPECT_EQ(one_row(x, a, first, words).accuracy[0], 1.0f) << vocab << ", " << words;
        EXPECT_EQ(one_row(x, a, vocab - 1, words).accuracy[0], first == vocab - 1 ? 1.0f : 0.0f);
        x[index(first)] = 1.5f;  // the reference's first word is no longer among the best
        EXPECT_EQ(one_row(x, a, 0, words).agreement[0], 0.0f) << vocab << ", " << words;
        x[index(first)] = 2;
        a[index(first)] = 2;  // only its last word is, and that is among the best here
        EXPECT_EQ(one_row(x, a, 0, words).agreement[0], 1.0f) << vocab << ", " << words;
      }
    }
  }
}

TEST_P(TokenSumsOf, ValuesThatAreNoNumbersMakeTheirRowNone) {
  for (const std::int64_t vocab : {3, 9, 1100}) {
    for (const std::int64_t words : {std::int64_t{2}, std::int64_t{512}, vocab}) {
      for (const std::int64_t at : {std::int64_t{0}, vocab / 2, vocab - 1}) {
        const std::vector<float> zeros(index(vocab), 0.0f);
        for (const float value : {kNaN, kInf}) {
          std::vector<float> bad = zeros;
          bad[index(at)] = value;
          const std::int64_t target = (at + 1) % vocab;
          const TokenResult candidate = one_row(bad, zeros, target, words);
          EXPECT_TRUE(std::isnan(candidate.loss[0])) << value << " at " << at << " of " << vocab;
          EXPECT_TRUE(std::isnan(candidate.kl[0]));
          EXPECT_TRUE(std::isnan(candidate.agreement[0]));
          EXPECT_TRUE(std::isnan(candidate.accuracy[0]));
          EXPECT_TRUE(std::isnan(candidate.acceptance[0]));
          const TokenResult reference = one_row(zeros, bad, target, words);
          EXPECT_FALSE(std::isnan(reference.loss[0]));
          EXPECT_TRUE(std::isnan(reference.kl[0])) << value << " at " << at << " of " << vocab;
          EXPECT_TRUE(std::isnan(reference.agreement[0]));
          EXPECT_FALSE(std::isnan(reference.accuracy[0]));
          EXPECT_TRUE(std::isnan(reference.acceptance[0]));
        }
        // A word of probability 0 is as good as none.
        std::vector<float> without = zeros;
        without[index(at)] = -kInf;
        const TokenResult both = one_row(without, without, (at + 1) % vocab, words);
        EXPECT_NEAR(both.loss[0], std::log(static_cast<double>(vocab - 1)),
                    0x1p-24 * (64 + 4 * static_cast<double>(vocab) / 1024));
        EXPECT_EQ(both.kl[0], 0.0f);
        // One that the reference takes to be possible is infinitely far off.
        const TokenResult apart = one_row(without, zeros, (at + 1) % vocab, words);
        EXPECT_EQ(apart.kl[0], kInf);
        // And never drafted: of vocab words all the others are kept as often as they may come.
        EXPECT_NEAR(apart.acceptance[0], 1 - 1 / static_cast<double>(vocab),
                    0x1p-24 * (64 + 8 * static_cast<double>(vocab) / 1024 + 16));
      }
    }
    EXPECT_TRUE(std::isnan(one_row(std::vector<float>(index(vocab), -kInf), {}, 0, vocab).loss[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(Readers, TokenSumsOf, testing::ValuesIn(kReaders),
                         [](const auto& reader) { return reader.param.name(); });

}  // namespace
}  // namespace mnm
