// The activation between the products of a gated feed-forward layer, in one pass over what the gate
// and the up product put out, their biases included. The parts marked MNM_HD are a device's
// arithmetic too (kernels/gated_activation_cuda.h).
//
// Elsewhere on the device fewer kernels are better: RMSNorm is LibTorch's, which is one pass
// already; the residual is the C of the product before it (kernels/sum_product_cuda.h).
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/element.h"

namespace mnm {

enum class Gate : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu };

// With g = gate + gate_bias and u = up + up_bias, gate becomes act(g) * u, or act(g * u).
struct GatedActivation {
  Element element = Element::kF32;
  Gate act = Gate::kSilu;
  bool of_product = false;  // act(g * u)
  std::int64_t rows = 0, width = 0;
  void* gate = nullptr;                                 // [rows, width]
  const void* up = nullptr;                             // [rows, width]
  const void *gate_bias = nullptr, *up_bias = nullptr;  // [width] each, or none
};

// On the host, in the blocks and threads of a device.
void gated_activation(const GatedActivation& g);

// ---- one thread's part ----

constexpr int kGateThreads = 256;  // of a block; each takes kTogether columns of one row

MNM_HD inline float activated(Gate act, float x) {
  switch (act) {
    case Gate::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case Gate::kGeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Gate::kRelu:
      return x < 0 ? 0.0f : x;  // NaN stays
    case Gate::kSilu:
      break;
  }
  return x / (1.0f + expf(-x));
}

MNM_HD inline std::int64_t groups_of(std::int64_t columns) {
  return (columns + kTogether - 1) / kTogether;
}

// Group `i` of rows * groups_of(width).
template <typename T>
MNM_HD void activate_group(const GatedActivation& g, bool vectors, std::int64_t i) {
  const std::int64_t groups = groups_of(g.width), row = i / groups, at = i % groups * kTogether;
  const int n = g.width - at < kTogether ? static_cast<int>(g.width - at) : kTogether;
  T* const gate = static_cast<T*>(g.gate) + row * g.width + at;
  float x[kTogether], up[kTogether];
  load(gate, n, vectors, 0, x);
  load(static_cast<const T*>(g.up) + row * g.width + at, n, vectors, 0, up);
  if (g.gate_bias) {
    float bias[kTogether];
    load(static_cast<const T*>(g.gate_bias) + at, n, vectors, 0, bias);
    for (int j = 0; j < kTogether; ++j) x[j] += bias[j];
  }
  if (g.up_bias) {
    float bias[kTogether];
    load(static_cast<const T*>(g.up_bias) + at, n, vectors, 0, bias);
    for (int j = 0; j < kTogether; ++j) up[j] += bias[j];
  }
  for (int j = 0; j < kTogether; ++j) {
    x[j] = g.of_product ? activated(g.act, x[j] * up[j]) : activated(g.act, x[j]) * up[j];
  }
  store(x, n, vectors, gate);
}

}  // namespace mnm
