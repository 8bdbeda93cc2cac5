// The pointwise kernels on a device against their definitions in double. Label `gpu`.
#include <gtest/gtest.h>

#include "kernels/gated_activation_cuda.h"
#include "kernels/rotary_cuda.h"
#include "tests/kernels/device.h"
#include "tests/kernels/pointwise_cases.h"

namespace mnm {
namespace {

using test::Device;

TEST(GatedActivationCuda, AgreesWithTheDefinitionInDouble) {
  MNM_NEEDS_DEVICE();
  for (const test::GateCase& c : test::gate_cases()) {
    const Device gate(c.gate.bytes), up(c.up.bytes), gate_bias(c.gate_bias.bytes),
        up_bias(c.up_bias.bytes);
    GatedActivation g = c.g;
    g.gate = gate.data(), g.up = up.data();
    if (!c.gate_bias.bytes.empty()) g.gate_bias = gate_bias.data();
    if (!c.up_bias.bytes.empty()) g.up_bias = up_bias.data();
    const char* const failure = gated_activation_cuda(g);
    ASSERT_EQ(failure, nullptr) << failure;
    test::check_gate(c, gate.values());
  }
}

TEST(RotaryCuda, AgreesWithTheDefinitionInDouble) {
  MNM_NEEDS_DEVICE();
  for (const test::RotaryCase& c : test::rotary_cases()) {
    const Device x(c.x.bytes), cosines(c.cosines.bytes), sines(c.sines.bytes);
    Rotary r = c.r;
    r.x = x.data(), r.cosines = cosines.data(), r.sines = sines.data();
    const char* const failure = rotate_cuda(r);
    ASSERT_EQ(failure, nullptr) << failure;
    test::check_rotary(c, x.values());
  }
}

}  // namespace
}  // namespace mnm
