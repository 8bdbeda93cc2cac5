// Copies the tensors of a submodel out of a checkpoint, along the slice plan, as streams of bytes.
// Memory stays flat, whatever the size of the checkpoint. Several threads prepare parts, and one
// writes.
//
// There are five ways to copy a slice. The first one in the table whose condition holds is taken.
// The last column says what the way gained when it was added, on a virtual machine with two
// processors. bench/extract_ways.cpp times each way beside a plain loop of reads and writes.
//
//   way                    condition                          gain
//   from a ring            the slice is one run of the file;  0.08 s of a processor per GB in place
//   (ReadAhead::held)      the page cache has less than half  of 1.6; 8.1 GB cold at 1.05 to 1.42
//                          of it; the files cannot share it   times the speed of cp, before 0.81
//   in the kernel          the dtype stays, the slice is one  cold, from XFS, where both files
//   (SourceFile::copy_to)  run, and its pages begin where     share blocks: 1.2 to 1.6 s for
//                          those of the output do (in_step)   2.24 GB instead of 2.8 s, 0.39 GB
//                                                             of disk instead of 2.13 GB
//   from mapped pages      the dtype stays, and ranges are    2.24 GB: warm 0.75 to 0.85 s in place
//   (SliceView)            16 KiB long, or 1 KiB and a        of 1.3 s, cold 1.8 s instead of
//                          quarter of their rows              2.2 s
//   with gaps, through     half of each row is kept, or the   8 KiB of every 16 KiB: 1.29 GB/s
//   buffers (reads_gaps)   ranges are short and close         instead of 0.59 GB/s
//   through buffers        everything else: conversions and   with threads that prepare parts:
//   (SliceReader)          short ranges                       0.9 s of kernel time for 2.24 GB
//                                                             instead of 1.8 s
//
// Slices that are converted are also read from the ring, if the ring holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "extract/copy_plan.h"
#include "extract/read_ahead.h"
#include "extract/source_file.h"
#include "model/checkpoint.h"
#include "model/slice_plan.h"

namespace mnm {

class Extractor {
 public:
  // `checkpoint` must outlive it. Shards are opened when first needed, once.
  explicit Extractor(const Checkpoint& checkpoint);
  ~Extractor();

  // From now on these slices are appended or streamed, in this order, and are read before they are
  // asked for. A slice is known by its address, and must outlive its use. A slice that comes in
  // another order is read when it is asked for.
  void read_ahead(std::vector<const TensorSlice*> slices, ReadAhead::Ways ways = {});

  // Appends the slice to `out` in `dtype`: its bytes as they are where the source has that dtype,
  // else converted chunk by chunk. The meter, if any, counts bytes of the output. Error where a
  // finite value would become infinite in `dtype`, naming the tensor.
  void append(const TensorSlice& slice, Dtype dtype, OutputFile& out, Meter* meter = nullptr);

  // Gives the slice to `sink` as f32, `chunk` elements at a time; the last chunk has what is left.
  void stream(const TensorSlice& slice, std::size_t chunk,
              const std::function<void(std::span<float>)>& sink);

  // Error if a shard has changed since it was opened. What was written must then not be kept.
  void check_unchanged() const;

 private:
  friend std::vector<float> extract_f32(const Checkpoint&, const TensorSlice&);
  SourceFile& shard_of(const StoredTensor& source);
  void begin(const TensorSlice& slice);
  bool holds(const TensorCopy& copy);
  void expect(SourceFile::Access access);  // of all shards

  const Checkpoint& checkpoint_;
  std::vector<std::unique_ptr<SourceFile>> shards_;  // by index; null until needed
  std::vector<const TensorSlice*> coming_;           // what ahead_ was told
  std::size_t begun_ = 0;                            // how many of them have been
  std::uint64_t place_ = 0;                          // what has been used of them, in bytes
  std::unique_ptr<ReadAhead> ahead_;
};

// Whether source and output, which begins at `position` of its file, begin their pages at the same
// bytes. The kernel then copies page by page, or, on file systems that can, lets both files have
// the same ones; where they do not, every page is made of parts of two, at two thirds of the speed.
bool in_step(const TensorCopy& copy, std::uint64_t position);

// The slices of a plan, for Extractor::read_ahead: from `first` on, `count` of them or all that
// there are.
std::vector<const TensorSlice*> slices_of(
    const SlicePlan& plan, std::size_t first = 0,
    std::size_t count = std::numeric_limits<std::size_t>::max());

// Error, with the name of the tensor, if a finite value would become infinite in `dtype`.
void check_range(std::span<const float> values, Dtype dtype, const std::string& name);

// The slice in memory, as f32: for tests and small tensors.
std::vector<float> extract_f32(const Checkpoint& checkpoint, const TensorSlice& slice);

}  // namespace mnm
