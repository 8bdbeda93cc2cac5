#include "model/flops.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/models.h"

namespace mnm {
namespace {

// Attention by definition: token t of T sees the positions that it may, and those are counted.
TEST(Flops, AttendedPositionsAreTheMeanOverTokens) {
  for (const bool causal : {true, false}) {
    for (const std::int64_t window : {0, 1, 2, 7, 64, 1000}) {
      for (const std::int64_t context : {1, 2, 7, 8, 64, 257}) {
        double seen = 0;
        for (std::int64_t t = 0; t < context; ++t) {
          const std::int64_t visible = causal ? t + 1 : context;
          seen += static_cast<double>(window == 0 ? visible : std::min(visible, window));
        }
        const LayerMixing mixing{.causal = causal, .window = window};
        EXPECT_NEAR(attended_positions(mixing, context), seen / static_cast<double>(context), 1e-9)
            << causal << " " << window << " " << context;
      }
    }
  }
}

TEST(Flops, OfALayerThatDoesEverything) {
  const LayerMixing mixing{.flops_per_attended = 3,
                           .flops_per_width = 5,
                           .flops_per_token = 7,
                           .flops_per_sibling = 11,
                           .flops_per_sibling_width = 13};
  EXPECT_EQ(mixing_flops(mixing, 10, 9), 3 * 5 + 5 * 10 + 7);
  EXPECT_EQ(sibling_flops(mixing, 10), 11 + 13 * 10);
  EXPECT_EQ(mixing_flops(mixing, kSkip, 9), 0);
  EXPECT_EQ(sibling_flops(mixing, kSkip), 0);
}

// The widest sibling pays for what all share, the others for their own part.
TEST(Flops, SiblingsPayForThemselves) {
  NestedModel model = test::prefix_model(2, 8, {4, 16});
  model.mixing[1].flops_per_sibling = 100;
  model.mixing[1].flops_per_sibling_width = 2;
  const ForwardFlops flops(model, 64);
  EXPECT_EQ(flops.sibling(1, 16, true), flops.layer(1, 16));
  EXPECT_EQ(flops.sibling(1, 4, false), 108);
  EXPECT_EQ(flops.sibling(0, 4, false), 0);
  EXPECT_EQ(flops.layer(1, kSkip), 0);
  EXPECT_EQ(flops.readout(), 2.0 * 11 * 8);
  EXPECT_EQ(ForwardFlops(model, 64, 0.25).readout(), 0.25 * 2 * 11 * 8);
}

}  // namespace
}  // namespace mnm
