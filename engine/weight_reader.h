// A checkpoint's tensors on a device, read when they are asked for. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "model/checkpoint.h"

namespace mnm {

at::ScalarType scalar_type(Dtype dtype);

// Reads with pread and through small buffers, so that only the tensors stay in this process's
// memory. To a device it copies from two pinned buffers in turn, so that filling one overlaps
// copying the other. Several threads fill a buffer. Callers on several threads take turns.
class WeightReader {
 public:
  // The checkpoint outlives the reader.
  WeightReader(const Checkpoint& checkpoint, const at::Device& device, Dtype dtype);
  WeightReader(const WeightReader&) = delete;
  WeightReader& operator=(const WeightReader&) = delete;
  ~WeightReader();

  // The whole tensor, as a new one in the dtype. On a device it is complete when the current stream
  // has come so far.
  at::Tensor read(const std::string& name);
  // Rows [first, first + count) of a matrix. They are the first rows of `room`, which is made anew
  // if it has fewer.
  at::Tensor read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                       at::Tensor& room);

 private:
  struct Buffer {
    at::Tensor bytes;                // u8
    std::optional<c10::Event> free;  // when the last copy from it has arrived
  };
  // Reads into `tensor` what begins at element `first` of the stored tensor.
  void read(const StoredTensor& stored, std::int64_t first, const at::Tensor& tensor);
  void read_through_buffers(const StoredTensor& stored, std::int64_t first, const at::Tensor& flat);

  const Checkpoint& checkpoint_;
  at::Device device_;
  Dtype dtype_;
  std::mutex mutex_;  // of the buffers
  Buffer buffers_[2];
};

}  // namespace mnm
