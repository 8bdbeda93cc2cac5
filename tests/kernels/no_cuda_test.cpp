#include <gtest/gtest.h>

#include <string>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/mamba2_scan.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/sum_product.h"
#include "kernels/cuda/token_sums.h"
#include "kernels/failure.h"

namespace mnm {
namespace {

TEST(NoCuda, EveryStandInSaysThatItIsNotThere) {
  EXPECT_FALSE(has_cuda_kernels());
  EXPECT_EQ(device_name_cuda(0), "");
  for (const char* const failure :
       {mamba2_scan_cuda({}, {}, nullptr, nullptr, nullptr), read_logits_cuda({}, nullptr),
        score_tokens_cuda(nullptr, 0, nullptr, 1, {}), add_acceptance_cuda({}, nullptr, nullptr),
        activate_cuda({}), rotate_cuda({}), sum_product_cuda({}, 0, nullptr, 0)}) {
    ASSERT_NE(failure, nullptr);
    EXPECT_NE(std::string(failure).find("without CUDA"), std::string::npos) << failure;
  }
}

}  // namespace
}  // namespace mnm
