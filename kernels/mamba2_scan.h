// The state-space scan of Mamba-2 ("SSD": Dao & Gu, "Transformers are SSMs", arXiv 2405.21060,
// sec. 6) over one sequence, for heads that share B and C. Per head, with H [state, head_dim]:
//
//   H[t] = exp(dt[t] a) H[t-1] + dt[t] B[t] (x) x[t],   y[t] = C[t] H[t] + d x[t]
//
// Heads are independent, so a prefix of the heads is a scan of its own with the same strides.
// mamba2_scan_sequential is the definition, in double, and judges the others.
#pragma once

#include <cstdint>

namespace mnm {

struct SsdShape {
  std::int64_t tokens = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t state = 0;
  // Floats from one token's to the next one's.
  std::int64_t x_stride = 0;   // x, [heads, head_dim] each
  std::int64_t dt_stride = 0;  // dt, [heads] each
  std::int64_t bc_stride = 0;  // b and c, [state] each
  std::int64_t y_stride = 0;   // y, as x
  std::int64_t chunk = 32;     // tokens per chunk
};

// dt >= 0 and a <= 0, so that nothing grows.
struct SsdInputs {
  const float* x = nullptr;
  const float* dt = nullptr;
  const float* a = nullptr;  // [heads]
  const float* b = nullptr;
  const float* c = nullptr;
  const float* d = nullptr;  // [heads]
};

// The plain definition, in double. `carried` [heads, state, head_dim] is the state before the first
// token, and becomes the state after the last one. nullptr: the state begins with zeros and is not
// returned.
void mamba2_scan_sequential(const SsdShape& shape, const SsdInputs& in, double* carried, double* y);

// Floats of work space that mamba2_scan needs: independent of the number of tokens.
std::int64_t ssd_work(const SsdShape& shape);

// The same in f32, chunk by chunk. Inside a chunk it uses products of [chunk, chunk]; the state
// goes from chunk to chunk.
void mamba2_scan(const SsdShape& shape, const SsdInputs& in, float* carried, float* y, float* work);

// Gradients. mamba2_scan_backward adds to b, c, a and d, and sets x and dt, with the strides of the
// inputs.
struct SsdGradients {
  float* x = nullptr;
  float* dt = nullptr;
  float* a = nullptr;
  float* b = nullptr;
  float* c = nullptr;
  float* d = nullptr;
};

// Floats of work space of the backward pass. It keeps a state per chunk.
std::int64_t ssd_backward_work(const SsdShape& shape);

// Gradients of a scan that began with zeros, from dy (with y's stride).
void mamba2_scan_backward(const SsdShape& shape, const SsdInputs& in, const float* dy,
                          const SsdGradients& gradients, float* work);

}  // namespace mnm
