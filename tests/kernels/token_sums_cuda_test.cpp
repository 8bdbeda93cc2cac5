// The device's sums over chunks of logits against the definition in double. Label `gpu`.
#include <gtest/gtest.h>

#include "kernels/cuda/token_sums.h"
#include "tests/kernels/device.h"
#include "tests/kernels/token_sums_cases.h"

namespace mnm {
namespace {

using test::Device;
using test::index;

TEST(TokenSumsCuda, AgreeWithTheDefinitionInDouble) {
  MNM_NEEDS_DEVICE();
  for (const test::TokenCase& c : test::token_cases()) {
    const Device logits(c.logits), full(c.full);
    const Device targets(c.targets);
    const float nan = NAN;
    const Device sums(
        std::vector<TokenSums>(index(c.rows), {nan, nan, nan, 7, 7, nan, nan, nan, nan}));
    for (const LogitChunk& chunk : test::chunks_of(c, logits.data(), full.data(), targets.data())) {
      const char* const failure = read_logits_cuda(chunk, sums.data());
      ASSERT_EQ(failure, nullptr) << failure;
    }
    const std::vector<float> unset(index(c.rows), nan);
    const Device loss(unset), accuracy(unset), kl(unset), agreement(unset), acceptance(unset);
    const char* const failure = score_tokens_cuda(
        sums.data(), c.rows, targets.data(), c.period,
        {loss.data(), accuracy.data(), c.reference ? kl.data() : nullptr, agreement.data()});
    ASSERT_EQ(failure, nullptr) << failure;
    for (const LogitChunk& chunk : test::chunks_of(c, logits.data(), full.data(), targets.data())) {
      if (!c.reference) break;
      const char* const why_not = add_acceptance_cuda(chunk, sums.data(), acceptance.data());
      ASSERT_EQ(why_not, nullptr) << why_not;
    }
    test::check_tokens(c,
                       {sums.values(), loss.values(), accuracy.values(), kl.values(),
                        agreement.values(), acceptance.values()},
                       test::roundings_of_blocks(c));
  }
}

}  // namespace
}  // namespace mnm
