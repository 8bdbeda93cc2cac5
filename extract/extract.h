// Checkpoint + slice plan -> the submodel's tensors, as streams of bytes.
//
// Memory stays flat whatever the checkpoint's size: contiguous runs go through copy_file_range,
// strided ones through few large reads into a fixed buffer.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "extract/copy_plan.h"
#include "model/checkpoint.h"
#include "model/files.h"
#include "model/slice_plan.h"

namespace mnm {

// Called with bytes done since the last call; returns false to stop (throws Stopped).
using ByteProgress = std::function<bool(std::uint64_t)>;

class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped"; }
};

// Appends the slice to `out`, in `dtype`: a byte copy where the source has that dtype, else
// converted chunk by chunk. Error where the source changed while it was read.
void extract_to(const Checkpoint& checkpoint, const TensorSlice& slice, Dtype dtype,
                OutputFile& out, const ByteProgress& progress = {});

// The slice in memory, as f32: for tests and small tensors.
std::vector<float> extract_f32(const Checkpoint& checkpoint, const TensorSlice& slice);

}  // namespace mnm
