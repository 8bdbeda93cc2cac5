#include <gtest/gtest.h>

#include "kernels/cuda/device.h"
#include "tests/kernels/device.h"

namespace mnm {
namespace {

TEST(DeviceCuda, HasANameAndWhatIsNotThereHasNone) {
  EXPECT_EQ(device_name_cuda(0).empty(), !test::has_device());
  MNM_NEEDS_DEVICE();
  EXPECT_EQ(device_name_cuda(1 << 20), "");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "it is no failure of the next launch";
}

}  // namespace
}  // namespace mnm
