// The bundled models, whose weights are stored in bf16, held so and in f32: the same numbers, up to
// the rounding of what the processor computes in.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "dataset/tokens.h"
#include "engine/engine.h"
#include "families/open_model.h"
#include "fold/product.h"

extern "C" mnm::Engine* mnm_make_engine();

namespace mnm {
namespace {

constexpr std::int64_t kContext = 48, kSequences = 4;

class InBf16 : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<ModelSession> load(Dtype dtype) {
    return mnm_make_engine()->load(opened_.model, opened_.checkpoint,
                                   {.dtype = dtype, .threads = 1});
  }

  // Of a logit or a loss, which takes two logits, all below 32. In f32 each route rounds as often
  // as there are terms on a path, and errors add up like a walk's steps: 8 layers and the head, of
  // products at most 1,024 long, of which a layer has six.
  static double tolerance() {
    if (arithmetic_type(at::kCPU, at::kBFloat16) != at::kFloat) return 2 * 32 * 0x1p-9;
    return 2 * 2 * std::sqrt((8 + 1) * 6 * 1024.0) * 0x1p-24 * 32;
  }

  const std::string directory_ = MNM_SOURCE_DIR "/data/" + GetParam();
  OpenedModel opened_ = open_model(directory_);
};

TEST_P(InBf16, LossesAreThoseOfTheSameWeightsInF32) {
  const TokenExamples data =
      load_token_examples({.path = MNM_SOURCE_DIR "/data/reference/search.bin",
                           .context = kContext,
                           .max_tokens = kContext * kSequences + 1},
                          opened_.model.vocab_size, opened_.model.max_context);
  const WidthSpace& space = opened_.model.space;
  std::vector<Widths> candidates;
  for (std::size_t level = 0; level < space.levels(); ++level) {
    candidates.push_back(space.uniform(level));
  }
  Widths mixed = space.full();
  mixed.back() = space.uniform(0).back();
  candidates.push_back(mixed);
  const auto bf16 = load(Dtype::kBF16)->score(candidates, data, {}, {});
  const auto f32 = load(Dtype::kF32)->score(candidates, data, {}, {});
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    ASSERT_EQ(bf16[i][Metric::kLoss].size(), static_cast<std::size_t>(kSequences));
    for (std::size_t s = 0; s < bf16[i][Metric::kLoss].size(); ++s) {
      EXPECT_NEAR(bf16[i][Metric::kLoss][s], f32[i][Metric::kLoss][s], tolerance())
          << i << " " << s;
    }
  }
}

TEST_P(InBf16, SoAreLogitsTokenByToken) {
  const auto bf16 = load(Dtype::kBF16), f32 = load(Dtype::kF32);
  const Widths widths = opened_.model.space.uniform(1);
  const auto a = bf16->sequences(), b = f32->sequences();
  const SequenceId in_a = a->open({}), in_b = b->open({});
  for (const std::vector<std::int64_t>& tokens :
       {std::vector<std::int64_t>{10, 20, 30}, {40}, {50}, {60}}) {
    const Feed to_a{.sequence = in_a, .widths = widths, .tokens = tokens};
    const Feed to_b{.sequence = in_b, .widths = widths, .tokens = tokens};
    const std::span<const float> x = a->step({&to_a, 1})[0], y = b->step({&to_b, 1})[0];
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], tolerance()) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Bundled, InBf16, ::testing::Values("reference", "matmamba"));

}  // namespace
}  // namespace mnm
