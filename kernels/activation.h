// The activation (SiLU, GELU, ReLU) between the products of a feed-forward layer, with or without a
// gate, in one pass over the results of these products. It also adds the biases. The parts marked
// MNM_HD are also a device's arithmetic (kernels/cuda/activation.h).
//
// Fewer kernels are better on a device, so two other steps have no kernel here. RMSNorm is
// LibTorch's, which is one pass already. The residual is the C of the product before it
// (kernels/cuda/sum_product.h).
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/element.h"

namespace mnm {

enum class Act : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu };

// With a = x + x_bias and u = up + up_bias, x becomes act(a) * u or act(a * u). If there is no
// `up`, it becomes act(a).
struct FfnActivation {
  Element element = Element::kF32;
  Act act = Act::kSilu;
  bool of_product = false;  // act(a * u)
  std::int64_t rows = 0, width = 0;
  void* x = nullptr;                                 // [rows, width]
  const void* up = nullptr;                          // [rows, width], or none
  const void *x_bias = nullptr, *up_bias = nullptr;  // [width] each, or none
};

void activate(const FfnActivation& f);  // on the host

// ---- one thread's part: kTogether columns of one row ----

MNM_HD inline float activated(Act act, float x) {
  switch (act) {
    case Act::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case Act::kGeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Act::kRelu:
      return x < 0 ? 0.0f : x;  // NaN stays
    case Act::kSilu:
      break;
  }
  return x / (1.0f + expf(-x));
}

MNM_HD inline std::int64_t groups_of(const FfnActivation& f) { return f.rows * groups_of(f.width); }

// Loads columns [at, at + n) of a row, and adds the bias if there is one.
template <typename T>
MNM_HD void load_biased(const void* matrix, const void* bias, std::int64_t row_begin,
                        std::int64_t at, int n, bool vectors, float (&out)[kTogether]) {
  load(static_cast<const T*>(matrix) + row_begin + at, n, vectors, 0, out);
  if (!bias) return;
  float more[kTogether];
  load(static_cast<const T*>(bias) + at, n, vectors, 0, more);
  for (int j = 0; j < kTogether; ++j) out[j] += more[j];
}

// Group `i` of groups_of(f).
template <typename T>
MNM_HD void activate_group(const FfnActivation& f, bool vectors, std::int64_t i) {
  const std::int64_t groups = groups_of(f.width), row = i / groups, at = i % groups * kTogether;
  const int n = f.width - at < kTogether ? static_cast<int>(f.width - at) : kTogether;
  float x[kTogether];
  load_biased<T>(f.x, f.x_bias, row * f.width, at, n, vectors, x);
  if (f.up) {
    float up[kTogether];
    load_biased<T>(f.up, f.up_bias, row * f.width, at, n, vectors, up);
    for (int j = 0; j < kTogether; ++j) {
      x[j] = f.of_product ? activated(f.act, x[j] * up[j]) : activated(f.act, x[j]) * up[j];
    }
  } else {
    for (int j = 0; j < kTogether; ++j) x[j] = activated(f.act, x[j]);
  }
  store(x, n, vectors, static_cast<T*>(f.x) + row * f.width + at);
}

}  // namespace mnm
