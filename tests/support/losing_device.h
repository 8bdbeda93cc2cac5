// The CPU as LibTorch's tests of a lost CUDA device need it: once it is lost, every product fails,
// and so does waiting for it. What is linked with losing_device.cpp has such a CPU.
//
// MNM_TEST_PRODUCTS: the products after which it is lost, from the start of the process.
// MNM_TEST_LOST_RANKS: of which ranks, parted by commas; of all where it is not set.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace mnm::test {

// What waiting for a lost device says, in the first of its lines.
inline constexpr const char* kLostSays = "CUDA error: unspecified launch failure";

// The ways in which LibTorch's calls fail on a lost device.
struct Failure {
  std::string what;
  std::function<void()> say;
};
const std::vector<Failure>& failures();

void lose_device();
void fill_device();  // it is sound, and has not even the memory to be waited for
void find_device();

}  // namespace mnm::test
