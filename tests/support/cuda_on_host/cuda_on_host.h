// The order in which the emulated device (cuda_runtime.h beside this) runs what may run in any.
#pragma once

#include <array>

namespace cuda_on_host {

// Of a block's threads between barriers, and of a grid's blocks. Shuffled: by a generator with a
// fixed seed, anew between any two barriers.
enum class Order { kForward, kReverse, kShuffled };
inline constexpr std::array kOrders = {Order::kForward, Order::kReverse, Order::kShuffled};

// Of launches from now on; forward at first.
void set_order(Order order);

}  // namespace cuda_on_host
