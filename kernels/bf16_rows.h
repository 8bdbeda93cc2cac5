// A product of few rows with weights that are stored in bf16, in f32. Generating does this for each
// token. Its speed is limited by memory, so each weight is read once, as it is stored.
#pragma once

#include <cstdint>

#include "kernels/element.h"

namespace mnm {

constexpr std::int64_t kFewRows =
    8;  // with more rows, a product that converts the weights is as fast

// Strides are distances between rows, in elements; a row's elements lie beside each other.
struct Bf16Rows {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const float* x = nullptr;  // [rows, depth]
  std::int64_t x_stride = 0;
  const Bf16* w = nullptr;  // [columns, depth]
  std::int64_t w_stride = 0;
  float* out = nullptr;  // [rows, columns]
  std::int64_t out_stride = 0;
  bool add = false;  // to what is there
};

// out = x w^T, or out + x w^T. Each sum is added up in 32 parts.
void bf16_rows(const Bf16Rows& product);

}  // namespace mnm
