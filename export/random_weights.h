// Fresh weights for a tensor table that are the same on every machine.
//
// Random bits come from Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2,
// 3", SC'11). Its key is the seed; its counter is the tensor's name and the element. So any part of
// any tensor can be made by itself, and a tensor does not depend on the rest of its model. 16 of
// the bits choose one of the 65,536 equally likely quantiles of the tensor's distribution. The
// quantiles are computed without libm, whose last digits differ between systems.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/dtype.h"
#include "model/tensor_table.h"

namespace mnm {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;
PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key);  // 10 rounds

// The quantiles of the normal distribution at (k + 1/2) / 65536, ascending, exact to the last digit
// of a float: from -4.32 to 4.32, mean 0, standard deviation 0.99999.
std::span<const float> normal_quantiles();

class RandomWeights {
 public:
  explicit RandomWeights(std::uint64_t seed) : seed_(seed) {}

  // Fills `bytes` with the elements of the tensor from `begin` on, in `dtype`, distributed as its
  // Init says. `begin` is a multiple of kStep, and bytes.size() a multiple of size_of(dtype).
  static constexpr std::uint64_t kStep = 8;
  void fill(const TensorSpec& tensor, Dtype dtype, std::uint64_t begin, std::span<std::byte> bytes);

 private:
  // The equally likely values of the tensor's distribution in `dtype`. They are kept for the next
  // call, which mostly asks for the same.
  const std::vector<std::byte>& table(const TensorSpec& tensor, Dtype dtype);

  struct Drawn {
    Init init = Init::kNormal;
    double std = 0, low = 0, high = 0;
    Dtype dtype = Dtype::kF32;
    friend bool operator==(const Drawn&, const Drawn&) = default;
  };

  std::uint64_t seed_;
  std::vector<std::byte> table_;
  Drawn drawn_;
};

}  // namespace mnm
