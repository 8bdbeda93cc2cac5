// What tests choose of the emulated device (cuda_runtime.h and cublasLt.h beside this).
#pragma once

#include <array>

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

}  // namespace cuda_on_host
