#include "dataset/example_subset.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "dataset/tokens.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

TokenExamples ten_of_three() {
  TokenExamples whole;
  whole.name = std::string("a.bin");  // g++ 12 warns of the literal
  whole.fingerprint = std::string("f");
  whole.count = 10;
  whole.context = 3;
  whole.vocab_size = 256;
  whole.tokens.resize(31);
  std::iota(whole.tokens.begin(), whole.tokens.end(), 0);
  return whole;
}

TEST(ExampleSubset, ReadsTheChosenExamples) {
  TokenExamples whole = ten_of_three();
  for (std::int32_t i = 0; i < 10; ++i) whole.scored.insert(whole.scored.end(), {i % 2, 2});
  whole.protocol = "of a search";
  const ExampleSubset subset(whole, {1, 4, 9});
  EXPECT_EQ(subset.protocol, whole.protocol);
  EXPECT_EQ(subset.count, 3);
  EXPECT_EQ(subset.targets(), 2);
  EXPECT_EQ(subset.scored, (std::vector<std::int32_t>{1, 2, 0, 2, 1, 2}));
  EXPECT_EQ(subset.name, "a.bin, 3 of 10 examples");
  std::vector<std::int64_t> inputs(6), targets(6);
  subset.read_inputs(1, 2, std::as_writable_bytes(std::span(inputs)));
  subset.read_targets(1, 2, targets);
  EXPECT_EQ(inputs, (std::vector<std::int64_t>{12, 13, 14, 27, 28, 29}));
  EXPECT_EQ(targets, (std::vector<std::int64_t>{13, 14, 15, 28, 29, 30}));
}

// What is scored on a part is found again as that, and never as something else.
TEST(ExampleSubset, FingerprintIsOfTheChoice) {
  const TokenExamples whole = ten_of_three();
  TokenExamples other = whole;
  other.fingerprint = std::string("g");
  const std::string one = ExampleSubset(whole, {1, 4}).fingerprint;
  EXPECT_EQ(ExampleSubset(whole, {1, 4}).fingerprint, one);
  EXPECT_NE(ExampleSubset(whole, {1, 5}).fingerprint, one);
  EXPECT_NE(ExampleSubset(other, {1, 4}).fingerprint, one);
  EXPECT_NE(one, whole.fingerprint);
}

TEST(ExampleSubset, RefusesWhatIsNoChoice) {
  const TokenExamples whole = ten_of_three();
  for (const std::vector<std::int64_t>& places :
       {std::vector<std::int64_t>{}, {-1, 2}, {2, 10}, {3, 3}, {4, 2}}) {
    EXPECT_NE(test::error_of([&] { ExampleSubset(whole, places); }).find("a.bin"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace mnm
