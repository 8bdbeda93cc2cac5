// Random numbers that are the same on every machine. The generator is xoshiro256**, seeded by
// splitmix64 (https://prng.di.unimi.it). The distributions are our own, in integer arithmetic or
// exact floating point. libm is not used, because its last digits differ between systems.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace mnm {

// splitmix64: the next number of a sequence whose state is one word. For seeds, and where a stream
// of numbers is wanted for each of many keys.
std::uint64_t split_mix(std::uint64_t& state);
// Its last step alone: each bit of the result depends on every bit of x.
std::uint64_t mix_bits(std::uint64_t x);

class Random {
 public:
  explicit Random(std::uint64_t seed);
  std::uint64_t next();
  std::uint64_t below(std::uint64_t n);  // uniform in [0, n), without bias; n > 0
  double uniform();                      // [0, 1), 53 bits
  bool chance(double p) { return uniform() < p; }

  template <typename T>
  void shuffle(std::vector<T>& values) {  // Fisher-Yates
    for (std::size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(i))]);
    }
  }

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace mnm
