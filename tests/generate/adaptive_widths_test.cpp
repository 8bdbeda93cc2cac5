#include "generate/adaptive_widths.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/generate/table_sequences.h"

namespace mnm {
namespace {

using test::TableSequences;
using test::Tokens;

TEST(AdaptiveWidths, MarginIsBetweenTheTwoLikeliest) {
  const std::vector<float> logits = {std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  EXPECT_NEAR(margin_of(logits), 0.2, 1e-6);
  EXPECT_NEAR(margin_of(std::vector<float>{1, 1}), 0, 1e-12);
  EXPECT_EQ(margin_of(std::vector<float>{3}), 1);
}

// The narrow submodel is unsure after odd tokens, and says their own successor; the wide one says
// the token after that.
TEST(AdaptiveWidths, UnsureTokensAreComputedWideAndStaySo) {
  std::vector<Widths> last;
  TableSequences sequences([&](const std::vector<test::FedToken>& fed) {
    last.clear();
    for (const test::FedToken& token : fed) last.push_back(token.widths);
    const bool wide = fed.back().widths.front() == 4, odd = fed.back().token % 2 == 1;
    std::vector<float> logits(10, 0);
    logits[static_cast<std::size_t>(fed.back().token + (wide ? 2 : 1)) % 10] =
        odd && !wide ? 0.1f : 9;
    return logits;
  });
  Sampler sampler({});
  Random random(1);
  AdaptiveWidths source(sequences, 0, {1}, {4}, 0.5, sampler, random);
  source.read(Tokens{2, 2});
  Tokens said;
  for (int i = 0; i < 5; ++i) said.push_back(source.next(9).front());
  EXPECT_EQ(said, (Tokens{4, 5, 7, 9, 1}));  // 4 is sure; 5, 7 and 9 are not
  EXPECT_EQ(source.computed(), 4);
  EXPECT_EQ(source.wide(), 3);
  EXPECT_EQ(last, (std::vector<Widths>{{4}, {4}, {1}, {4}, {4}, {4}}));
}

}  // namespace
}  // namespace mnm
