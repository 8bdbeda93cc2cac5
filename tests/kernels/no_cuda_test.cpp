#include <gtest/gtest.h>

#include <string>

#include "kernels/activation_cuda.h"
#include "kernels/device_cuda.h"
#include "kernels/failure.h"
#include "kernels/rotary_cuda.h"
#include "kernels/ssd_scan_cuda.h"
#include "kernels/sum_product_cuda.h"
#include "kernels/token_sums_cuda.h"

namespace mnm {
namespace {

TEST(NoCuda, EveryStandInSaysThatItIsNotThere) {
  EXPECT_FALSE(has_cuda_kernels());
  EXPECT_EQ(device_name_cuda(0), "");
  for (const char* const failure :
       {ssd_scan_cuda({}, {}, nullptr, nullptr, nullptr), read_logits_cuda({}, nullptr),
        score_tokens_cuda(nullptr, 0, nullptr, 1, {}), add_acceptance_cuda({}, nullptr, nullptr),
        activate_cuda({}), rotate_cuda({}), sum_product_cuda({}, 0, nullptr, 0)}) {
    ASSERT_NE(failure, nullptr);
    EXPECT_NE(std::string(failure).find("without CUDA"), std::string::npos) << failure;
  }
}

}  // namespace
}  // namespace mnm
