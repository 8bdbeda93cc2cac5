// What runs here is the CUDA kernel's arithmetic, in its blocks and threads, on the host.
#include "kernels/gated_activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/pointwise_cases.h"

namespace mnm {
namespace {

TEST(GatedActivation, AgreesWithTheDefinitionInDouble) {
  for (const test::GateCase& c : test::gate_cases()) {
    std::vector<std::byte> gate = c.gate.bytes;
    GatedActivation g = c.g;
    g.gate = gate.data(), g.up = c.up.bytes.data();
    if (!c.gate_bias.bytes.empty()) g.gate_bias = c.gate_bias.bytes.data();
    if (!c.up_bias.bytes.empty()) g.up_bias = c.up_bias.bytes.data();
    gated_activation(g);
    test::check_gate(c, gate);
  }
}

TEST(GatedActivation, NaNStaysAndInfinitiesAreWhatTheirLimitsAre) {
  for (const Gate act : {Gate::kSilu, Gate::kGelu, Gate::kGeluTanh, Gate::kRelu}) {
    EXPECT_TRUE(std::isnan(activated(act, NAN)));
    EXPECT_EQ(activated(act, INFINITY), INFINITY);
    EXPECT_EQ(activated(act, 100.0f), 100.0f);
    EXPECT_NEAR(activated(act, -100.0f), 0.0f, 1e-40);
  }
}

}  // namespace
}  // namespace mnm
