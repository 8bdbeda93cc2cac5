// What runs here is the CUDA kernel's arithmetic, in its blocks and threads, on the host.
#include "kernels/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/pointwise_cases.h"

namespace mnm {
namespace {

TEST(FfnActivation, AgreesWithTheDefinitionInDouble) {
  for (const test::ActivationCase& c : test::activation_cases()) {
    const auto data = [](const test::Stored& s) {
      return s.bytes.empty() ? nullptr : s.bytes.data();
    };
    std::vector<std::byte> x = c.x.bytes;
    FfnActivation f = c.f;
    f.x = x.data(), f.up = data(c.up), f.x_bias = data(c.x_bias), f.up_bias = data(c.up_bias);
    activate(f);
    test::check_activation(c, x);
  }
}

TEST(FfnActivation, NaNStaysAndInfinitiesAreWhatTheirLimitsAre) {
  for (const Act act : {Act::kSilu, Act::kGelu, Act::kGeluTanh, Act::kRelu}) {
    EXPECT_TRUE(std::isnan(activated(act, NAN)));
    EXPECT_EQ(activated(act, INFINITY), INFINITY);
    EXPECT_EQ(activated(act, 100.0f), 100.0f);
    EXPECT_NEAR(activated(act, -100.0f), 0.0f, 1e-40);
  }
}

}  // namespace
}  // namespace mnm
