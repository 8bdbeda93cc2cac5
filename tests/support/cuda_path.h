// The device that tests of what is written for CUDA run on: a GPU, or the host in its place
// (tests/support/cuda_on_host), by which of the two the test is linked with.
#pragma once

#include <ATen/Context.h>
#include <c10/core/Device.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#ifdef MNM_CUDA_ON_HOST
#include "tests/support/cuda_on_host/cuda_on_host.h"
#endif

namespace mnm::test {

#ifdef MNM_CUDA_ON_HOST

inline const at::Device kCudaDevice = at::kCPU;
inline bool has_cuda_device() { return true; }

// While it lives, the host's tensors go where a device's go; and some do, `with_products` to
// cuBLASLt too.
class OnCuda {
 public:
  explicit OnCuda(bool with_products) : with_products_(with_products) {}
  OnCuda(const OnCuda&) = delete;
  OnCuda& operator=(const OnCuda&) = delete;
  ~OnCuda() {
    const cuda_on_host::Counts now = cuda_on_host::counts();
    EXPECT_GT(now.launches, before_.launches) << "no CUDA kernel was launched";
    EXPECT_EQ(now.products > before_.products, with_products_);
    EXPECT_EQ(now.refusals, before_.refusals) << "LibTorch's products took the place of cuBLASLt's";
  }

 private:
  bool with_products_;
  cuda_on_host::Counts before_ = cuda_on_host::counts();
  cuda_on_host::TakesHostMemory takes_;
};

#else

inline const at::Device kCudaDevice = at::kCUDA;
inline bool has_cuda_device() {
  return at::hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0;
}
struct OnCuda {
  explicit OnCuda(bool) {}
};

#endif

}  // namespace mnm::test

// A test that needs a device starts with it. Skipping is no pass: without a GPU the same test runs
// in the ordinary suite, in the program that is linked with the host in its place (*_on_host).
#define MNM_NEEDS_CUDA_DEVICE() \
  if (!test::has_cuda_device()) GTEST_SKIP() << "no CUDA device"
