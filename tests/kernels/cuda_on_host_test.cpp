// What the emulated device catches (tests/support/cuda_on_host): kernels that are wrong in one way
// each.
#include "tests/support/cuda_on_host/cuda_on_host.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/element.h"
#include "tests/kernels/device.h"

namespace mnm {
namespace {

using cuda_on_host::kOrders;
using cuda_on_host::Order;
using test::Device;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::string failure_of(const char* failure) { return failure ? failure : "none"; }

// What `kernel` leaves in as many elements as there are threads.
template <typename T>
std::vector<T> run(unsigned blocks, unsigned threads, void (*kernel)(T*),
                   const std::string& failure = "none") {
  const Device<T> out(std::vector<T>(std::size_t{blocks} * threads, T{}));
  launch_kernel(blocks, threads, kernel, out.data());
  const std::string got = failure_of(launched());
  EXPECT_NE(got.find(failure), std::string::npos) << got;
  return out.values();
}

constexpr unsigned kBlock = 96;

__global__ void turn_around(float* out) {
  __shared__ float of_block[kBlock];
  of_block[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[blockIdx.x * kBlock + threadIdx.x] = of_block[kBlock - 1 - threadIdx.x];
}

__global__ void turn_around_without_barrier(float* out) {
  __shared__ float of_block[kBlock];
  of_block[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[blockIdx.x * kBlock + threadIdx.x] = of_block[kBlock - 1 - threadIdx.x];
}

__global__ void race_for_one_place(float* out) {
  __shared__ float last;
  last = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[blockIdx.x * kBlock + threadIdx.x] = last;
}

TEST(CudaOnHost, ABarrierLetsThreadsExchangeInEveryOrder) {
  for (const Order order : kOrders) {
    cuda_on_host::set_order(order);
    const std::vector<float> out = run(3, kBlock, turn_around);
    for (std::size_t i = 0; i < out.size(); ++i) {
      ASSERT_EQ(out[i], static_cast<float>(kBlock - 1 - i % kBlock));
    }
  }
  cuda_on_host::set_order(Order::kForward);
}

TEST(CudaOnHost, ARaceGivesOtherResultsInAnotherOrder) {
  for (void (*const kernel)(float*) : {turn_around_without_barrier, race_for_one_place}) {
    std::vector<std::string> seen;
    for (const Order order : kOrders) {
      cuda_on_host::set_order(order);
      const std::vector<float> out = run(2, kBlock, kernel);
      seen.emplace_back(reinterpret_cast<const char*>(out.data()), out.size() * sizeof(float));
    }
    cuda_on_host::set_order(Order::kForward);
    EXPECT_NE(seen[0], seen[1]);
    EXPECT_NE(seen[0], seen[2]);
    EXPECT_NE(seen[1], seen[2]);
  }
}

__global__ void keep_from_block_to_block(float* out) {
  __shared__ float kept;
  if (threadIdx.x == 0 && blockIdx.x == 0) kept = 5;
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = kept;
}

TEST(CudaOnHost, SharedMemoryOfAnEarlierBlockIsGarbage) {
  const std::vector<float> out = run(2, 2, keep_from_block_to_block);
  EXPECT_EQ(out[0], 5);
  EXPECT_EQ(out[1], 5);
  EXPECT_TRUE(std::isnan(out[2]) && std::isnan(out[3]));
}

__global__ void some_wait(float*) {
  if (threadIdx.x != 7) __syncthreads();
}
__global__ void wait_apart(float*) {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void wait_after_return(float*) {
  if (threadIdx.x > 90) return;
  __syncthreads();
}

TEST(CudaOnHost, ABarrierThatNotAllReachIsAFailure) {
  run(1, kBlock, some_wait, "not all threads of the block reach: thread 7 has returned");
  run(1, kBlock, wait_apart, "not all threads of the block reach: thread 40 waits at");
  run(1, kBlock, wait_after_return, "not all threads of the block reach: thread 91 has returned");
  run(1, kBlock, turn_around);  // and the next launch is as good as the first
}

__global__ void sum_of_warp(int* out) {
  int sum = static_cast<int>(threadIdx.x) + 1;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  out[threadIdx.x] = sum;
}
__global__ void shuffle_in_half_a_warp(int*) {
  if (threadIdx.x % 32 < 16) __shfl_down_sync(0xffffffffu, 1, 1);
}
__global__ void shuffle_unnamed(int*) { __shfl_down_sync(0x0000ffffu, 1, 0); }
__global__ void shuffle_from_unnamed(int*) {
  if (threadIdx.x < 16) __shfl_down_sync(0x0000ffffu, 1, 1);
}
__global__ void shuffle_apart(int*) {
  if (threadIdx.x % 2 == 0) {
    __shfl_down_sync(0xffffffffu, 1, 1);
  } else {
    __shfl_down_sync(0xffffffffu, 2, 1);
  }
}
__global__ void wait_or_shuffle(int*) {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else {
    __shfl_down_sync(0xffffffffu, 1, 1);
  }
}

TEST(CudaOnHost, AShuffleExchangesInEveryOrder) {
  for (const Order order : kOrders) {
    cuda_on_host::set_order(order);
    const std::vector<int> out = run(1, 64, sum_of_warp);
    EXPECT_EQ(out[0], 32 * 33 / 2);
    EXPECT_EQ(out[32], 32 * 32 + 32 * 33 / 2);
    EXPECT_EQ(out[31], 32 * 32) << "the last lane reads itself";
  }
  cuda_on_host::set_order(Order::kForward);
}

TEST(CudaOnHost, AShuffleWhoseLanesDoNotComeIsAFailure) {
  const std::string missing = "mask 0xffffffff at cuda_on_host_test.cpp:";
  run(1, 64, shuffle_in_half_a_warp, missing);
  run(1, 20, sum_of_warp, missing);
  run(1, 32, shuffle_apart, missing);
  run(1, 32, wait_or_shuffle, missing);
  run(1, 32, shuffle_unnamed, "lane 16 of warp 0 shuffles with mask 0xffff");
  run(1, 32, shuffle_from_unnamed, "reads lane 16, which is not named");
  run(1, 64, sum_of_warp);
}

__global__ void write_beside(float* out) { out[blockDim.x * gridDim.x + threadIdx.x] = 1; }
__global__ void write_before(float* out) { out[-1] = 1; }
__global__ void read_beside(float* out) { out[threadIdx.x] = out[threadIdx.x + 1]; }

TEST(CudaOnHost, WhatIsWrittenBesideAnAllocationIsAFailure) {
  if (kSanitized) GTEST_SKIP() << "AddressSanitizer ends the program";
  run(1, 3, write_beside, "beside an allocation of 12 bytes was written");
  run(1, 1, write_before, "beside an allocation of 4 bytes was written");
  EXPECT_TRUE(std::isnan(run(1, 3, read_beside)[2])) << "what is beside it is garbage";
}

__global__ void leave_array(float* out) {
  __shared__ float of_block[kBlock], next[kBlock];
  next[threadIdx.x] = 1;
  out[threadIdx.x] = of_block[threadIdx.x + 1] + next[0];
}

__global__ void load_off_boundary(float* out) {
  float group[kTogether];
  load(out + 1, kTogether, /*vectors=*/true, 0, group);
  out[0] = group[0];
}

TEST(CudaOnHostDeathTest, AnAccessOutOfAnArrayOrOffItsBoundaryEndsTheProgram) {
  EXPECT_DEATH(run(1, kBlock, leave_array), "index 96 out of bounds");
  EXPECT_DEATH(run(1, 16, load_off_boundary), "misaligned address");
  if (!kSanitized) return;
  EXPECT_DEATH(run(1, 3, write_beside), "heap-buffer-overflow");
  EXPECT_DEATH(run(1, 3, read_beside), "heap-buffer-overflow");
}

__global__ void count_up(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1;
}

TEST(CudaOnHost, EveryThreadOfTheGridRunsOnce) {
  const Device<int> out(std::vector<int>(2 * 3 * 4 * 5 * 6 * 7));
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(2, 3, 4);
  config.blockDim = dim3(5, 6, 7);
  cudaLaunchKernelEx(&config, count_up, out.data());
  EXPECT_EQ(failure_of(launched()), "none");
  EXPECT_EQ(out.values(), std::vector<int>(2 * 3 * 4 * 5 * 6 * 7, 1));
}

TEST(CudaOnHost, RefusesWhatADeviceWouldNotLaunch) {
  for (const auto& [grid, block] : {std::pair<dim3, dim3>{dim3(0), dim3(1)},
                                    {dim3(1), dim3(0)},
                                    {dim3(1), dim3(1025)},
                                    {dim3(1, 65536), dim3(1)},
                                    {dim3(1, 1, 65536), dim3(1)},
                                    {dim3(1u << 31), dim3(1)},
                                    {dim3(1), dim3(32, 33)},
                                    {dim3(1), dim3(1, 1, 65)}}) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    cudaLaunchKernelEx(&config, some_wait, static_cast<float*>(nullptr));
    EXPECT_EQ(failure_of(launched()), "invalid configuration argument");
    EXPECT_EQ(failure_of(launched()), "none") << "it is no failure of the next launch";
  }
}

TEST(CudaOnHost, CopiesOnlyWhatIsWithinAnAllocation) {
  const Device<float> device(std::vector<float>(4));
  float host[5] = {};
  EXPECT_EQ(cudaMemcpy(host, device.data(), 16, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host, device.data(), 20, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.data() + 1, host, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host, host + 1, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(host), cudaErrorInvalidValue);
  cudaGetLastError();
}

}  // namespace
}  // namespace mnm
