// The pointwise kernels on a device against their definitions in double. Label `gpu`.
#include <gtest/gtest.h>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/rope.h"
#include "tests/kernels/device.h"
#include "tests/kernels/pointwise_cases.h"

namespace mnm {
namespace {

using test::Device;

TEST(FfnActivationCuda, AgreesWithTheDefinitionInDouble) {
  MNM_NEEDS_DEVICE();
  for (const test::ActivationCase& c : test::activation_cases()) {
    const Device x(c.x.bytes), up(c.up.bytes), x_bias(c.x_bias.bytes), up_bias(c.up_bias.bytes);
    FfnActivation f = c.f;
    f.x = x.data();
    if (!c.up.bytes.empty()) f.up = up.data();
    if (!c.x_bias.bytes.empty()) f.x_bias = x_bias.data();
    if (!c.up_bias.bytes.empty()) f.up_bias = up_bias.data();
    const char* const failure = activate_cuda(f);
    ASSERT_EQ(failure, nullptr) << failure;
    test::check_activation(c, x.values());
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
