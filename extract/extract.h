// Checkpoint + slice plan -> the submodel's tensors, as streams of bytes.
//
// Memory stays flat whatever the checkpoint's size: nothing is read through the checkpoint's map.
// What lies in one piece is copied inside the kernel where its pages are the output's pages too,
// the rest through fixed buffers, by several threads.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "extract/copy_plan.h"
#include "extract/source_file.h"
#include "model/checkpoint.h"
#include "model/files.h"
#include "model/slice_plan.h"

namespace mnm {

class Extractor {
 public:
  // `checkpoint` must outlive it. Shards are opened when first needed, once.
  explicit Extractor(const Checkpoint& checkpoint);
  ~Extractor();

  // Appends the slice to `out` in `dtype`: its bytes as they are where the source has that dtype,
  // else converted chunk by chunk. Progress counts bytes of the output. Error where a finite value
  // would become infinite in `dtype`, naming the tensor.
  void append(const TensorSlice& slice, Dtype dtype, OutputFile& out,
              const ByteProgress& progress = {});

  // Hands the slice on as f32, `chunk` elements at a time (the last time what is left).
  void stream(const TensorSlice& slice, std::size_t chunk,
              const std::function<void(std::span<float>)>& sink);

  // Error if a shard that was read has changed since it was opened: what was written must then
  // not be kept.
  void check_unchanged() const;

 private:
  friend std::vector<float> extract_f32(const Checkpoint&, const TensorSlice&);
  SourceFile& shard_of(const StoredTensor& source);

  const Checkpoint& checkpoint_;
  std::vector<std::unique_ptr<SourceFile>> shards_;  // by index; null until needed
};

// Error, naming the tensor, where a finite value would become infinite in `dtype`.
void check_range(std::span<const float> values, Dtype dtype, const std::string& name);

// The slice in memory, as f32: for tests and small tensors.
std::vector<float> extract_f32(const Checkpoint& checkpoint, const TensorSlice& slice);

}  // namespace mnm
