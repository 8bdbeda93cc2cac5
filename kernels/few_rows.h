// A product of few rows with many weights, in f32. Generating does this for each token. Its speed
// is limited by memory, so each weight is read once, as it is stored.
#pragma once

#include <cstdint>

#include "kernels/element.h"

namespace mnm {

constexpr std::int64_t kFewRows = 16;  // with more rows, a product by blocks is as fast

// Strides are distances between rows, in elements; a row's elements lie beside each other.
struct FewRows {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const float* x = nullptr;  // [rows, depth]
  std::int64_t x_stride = 0;
  Element element = Element::kF32;  // of the weights: f32 or bf16
  const void* w = nullptr;          // [columns, depth]
  std::int64_t w_stride = 0;
  float* out = nullptr;  // [rows, columns]
  std::int64_t out_stride = 0;
  bool add = false;  // to what is there
};

// out = x w^T, or out + x w^T. Each sum is added up in 8 parts, in the same order however many rows
// there are: a row has the same bits alone as among others.
void few_rows(const FewRows& product);

}  // namespace mnm
