#include "dataset/overlap.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace mnm {
namespace {

TokenExamples cut(const std::vector<std::int32_t>& tokens, std::int64_t context) {
  TokenExamples data;
  data.context = context;
  data.count = (static_cast<std::int64_t>(tokens.size()) - 1) / context;
  data.tokens.assign(tokens.begin(), tokens.begin() + data.count * context + 1);
  return data;
}

std::vector<std::int32_t> text(std::uint32_t seed, std::size_t size, std::uint32_t vocab = 256) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < size; ++i)
    tokens.push_back(static_cast<std::int32_t>(random() % vocab));
  return tokens;
}

std::vector<std::int32_t> joined(std::vector<std::int32_t> a, const std::vector<std::int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Every window, compared with every sequence.
std::int64_t plainly(const TokenExamples& part, const TokenExamples& other) {
  const auto length = static_cast<std::size_t>(part.context) + 1;
  std::set<std::vector<std::int32_t>> windows;
  for (std::size_t at = 0; at + length <= other.tokens.size(); ++at) {
    const auto begin = other.tokens.begin() + static_cast<std::ptrdiff_t>(at);
    windows.insert({begin, begin + static_cast<std::ptrdiff_t>(length)});
  }
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < part.count; ++i) {
    const auto begin = part.tokens.begin() + i * part.context;
    found += static_cast<std::int64_t>(
        windows.count({begin, begin + static_cast<std::ptrdiff_t>(length)}));
  }
  return found;
}

TEST(Overlap, CopiesAreFoundWhereverTheyAreCut) {
  const std::vector<std::int32_t> search = text(1, 32 * 20 + 1), apart = text(2, 32 * 20 + 1);
  struct Case {
    const char* what;
    std::vector<std::int32_t> tokens;
    std::int64_t shared;
  };
  const Case cases[] = {
      {"the same", search, 20},
      {"other text", apart, 0},
      {"shifted by one: the last sequence runs over the end",
       {search.begin() + 1, search.end()},
       19},
      {"shifted by 7", {search.begin() + 7, search.end()}, 19},
      {"a piece of the middle", {search.begin() + 100, search.begin() + 100 + 32 * 3 + 1}, 3},
      {"behind other text: the last sequence is cut off", joined(text(3, 50), search), 19},
      {"among ten times as much other text", joined(joined(text(4, 3200), search), text(5, 3200)),
       20},
      {"twice", joined(search, search), 39},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(shared_sequences(cut(c.tokens, 32), cut(search, 32)), c.shared) << c.what;
    EXPECT_EQ(shared_sequences(cut(search, 32), cut(c.tokens, 32)), c.shared) << c.what;
  }
}

TEST(Overlap, AgreesWithComparingEverything) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const std::uint32_t vocab = 1 + seed % 3;  // few words, so that much is alike
    const TokenExamples a = cut(text(seed, 40 + seed, vocab), 1 + seed % 7);
    const TokenExamples b = cut(text(seed + 100, 90 - seed, vocab), 1 + seed % 7);
    EXPECT_EQ(sequences_within(a, b), plainly(a, b)) << seed;
    EXPECT_EQ(sequences_within(b, a), plainly(b, a)) << seed;
  }
}

TEST(Overlap, AMillionEqualTokensAreNoBurden) {
  const std::vector<std::int32_t> zeros(1 << 20, 0);
  EXPECT_EQ(shared_sequences(cut(zeros, 16), cut(zeros, 16)), (1 << 16) - 1);
}

}  // namespace
}  // namespace mnm
