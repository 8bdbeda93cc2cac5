// What tests choose of the emulated device (cuda_runtime.h and cublasLt.h beside this).
#pragma once

#include <array>
#include <cstdint>

namespace cuda_on_host {

// Of a block's threads between barriers, and of a grid's blocks. Shuffled: by a generator with a
// fixed seed, anew between any two barriers.
enum class Order { kForward, kReverse, kShuffled };
inline constexpr std::array kOrders = {Order::kForward, Order::kReverse, Order::kShuffled};

// Of launches from now on; forward at first.
void set_order(Order order);

// What cuBLASLt finds for a product from now on: an algorithm at first; or none, which it may say
// in three ways.
enum class Algorithms { kOne, kNone, kNoneListed, kOneThatIsNone };
void set_algorithms(Algorithms algorithms);
Algorithms algorithms();

// While one lives, tensors of the CPU go to the CUDA kernels.
class TakesHostMemory {
 public:
  TakesHostMemory();
  ~TakesHostMemory();
  TakesHostMemory(const TakesHostMemory&) = delete;
  TakesHostMemory& operator=(const TakesHostMemory&) = delete;
};
bool takes_host_memory();

// So far: kernels launched, and what cuBLASLt was asked and did, or was asked wrongly.
struct Counts {
  std::int64_t launches = 0, products = 0, refusals = 0;
};
Counts counts();
void count_product(bool refused);

}  // namespace cuda_on_host
