// Memory on a CUDA device, for tests with the label `gpu`.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace mnm::test {

#ifdef MNM_CUDA_ON_HOST
inline constexpr bool kOnHost = true;  // there is a device, and it takes whatever is right
#else
inline constexpr bool kOnHost = false;
#endif

inline bool has_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

// A test that needs a device starts with it. Skipping is no pass.
#define MNM_NEEDS_DEVICE() \
  if (!test::has_device()) GTEST_SKIP() << "no CUDA device"

template <typename T>
class Device {
 public:
  explicit Device(const std::vector<T>& values) : size_(values.size()) {
    check(cudaMalloc(&data_, std::max(size_ * sizeof(T), sizeof(T))));
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() { cudaFree(data_); }
  T* data() const { return static_cast<T*>(data_); }
  std::vector<T> values() const {
    std::vector<T> host(size_);
    check(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  static void check(cudaError_t error) {
    ASSERT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
  }
  void* data_ = nullptr;
  std::size_t size_;
};

}  // namespace mnm::test
