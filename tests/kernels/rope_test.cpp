// What runs here is the CUDA kernel's arithmetic, in its blocks and threads, on the host.
#include "kernels/rope.h"

#include <gtest/gtest.h>

#include "tests/kernels/pointwise_cases.h"

namespace mnm {
namespace {

TEST(Rotary, AgreesWithTheDefinitionInDouble) {
  for (const test::RotaryCase& c : test::rotary_cases()) {
    std::vector<std::byte> x = c.x.bytes;
    Rotary r = c.r;
    r.x = x.data(), r.cosines = c.cosines.bytes.data(), r.sines = c.sines.bytes.data();
    rotate(r);
    test::check_rotary(c, x);
  }
}

}  // namespace
}  // namespace mnm
