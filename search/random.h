// Random numbers that are the same on every machine: xoshiro256** seeded by splitmix64
// (https://prng.di.unimi.it), and our own distributions over it.
#pragma once

#include <array>
#include <cstdint>

namespace mnm {

class Random {
 public:
  explicit Random(std::uint64_t seed);
  std::uint64_t next();
  std::uint64_t below(std::uint64_t n);  // uniform in [0, n), without bias; n > 0
  double uniform();                      // [0, 1), 53 bits
  double normal();                       // mean 0, variance 1 (polar method)

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace mnm
