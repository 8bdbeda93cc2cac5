// mamba2_scan (kernels/mamba2_scan.h) on a CUDA device, for many sequences at once: the chunked
// algorithm in f32. Pointers are the device's; nothing is copied or waited for.
//
// kernels/cuda/mamba2_scan.cu is linked, or, where there is no CUDA,
// kernels/no_cuda/mamba2_scan.cpp.
#pragma once

#include <cstdint>

#include "kernels/mamba2_scan.h"

namespace mnm {

bool has_cuda_kernels();  // whether this program holds them; says nothing of a device

struct SsdBatch {
  SsdShape shape;  // of one sequence; chunk is at most kSsdCudaChunk
  std::int64_t sequences = 1;
  // Floats from one sequence's first token to the next one's. For `carried` this is heads * state *
  // head_dim.
  std::int64_t x_sequence = 0, dt_sequence = 0, bc_sequence = 0, y_sequence = 0;
};

inline constexpr std::int64_t kSsdCudaChunk = 64;

// Floats of work space on the device.
std::int64_t ssd_cuda_work(const SsdBatch& batch);

// Launches on the default stream. Returns nullptr if everything was launched, else the reason (a
// text that is never freed): there is no CUDA, what the driver said, or a shape beyond the launch's
// limits (2^31 - 1 blocks).
const char* mamba2_scan_cuda(const SsdBatch& batch, const SsdInputs& in, float* carried, float* y,
                             float* work);

}  // namespace mnm
