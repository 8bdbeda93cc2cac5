#include <gtest/gtest.h>

#include <string>

#include "kernels/ssd_scan_cuda.h"

namespace mnm {
namespace {

TEST(SsdScanNoCuda, SaysThatItIsNotThere) {
  EXPECT_FALSE(has_cuda_kernels());
  const char* const failure = ssd_scan_cuda({}, {}, nullptr, nullptr, nullptr);
  ASSERT_NE(failure, nullptr);
  EXPECT_NE(std::string(failure).find("without CUDA"), std::string::npos) << failure;
}

}  // namespace
}  // namespace mnm
