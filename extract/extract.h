// Checkpoint + slice plan -> the submodel's tensors, as streams of bytes. Memory stays flat
// whatever the checkpoint's size. Several threads prepare parts, while one writes.
//
// There are five ways to copy a slice. For each one the table says when it is taken, from the top
// down, and what it bought when it was added, on a virtual machine of two processors.
// bench/extract_ways.cpp times each of them beside a plain loop of reads and writes.
//
//   way                     taken where                         bought
//   from a ring             one run of the file, of which the   0.08 s of a processor per GB in
//   place (ReadAhead::held)       page cache has less than half, and  of 1.6; 8.1 GB cold at 1.05
//   to 1.42
//                           which the files cannot share        times the speed of cp, before 0.81
//   in the kernel           the dtype stays, what is kept lies  cold, from XFS, which lets both
//   files (SourceFile::copy_to)   in one run, and its pages begin     have the same blocks: 1.2
//   to 1.6 s
//                           where the output's do (in_step)     for 2.24 GB where it was 2.8 s, and
//                                                               0.39 GB of disk in place of 2.13
//   from mapped pages       the dtype stays, and ranges are     warm, 2.24 GB: 0.75 to 0.85 s in
//   (SliceView)             16 KiB long, or 1 KiB and a         place of 1.3; cold 1.8 in place of
//                           quarter of their rows               2.2
//   through buffers         everything else: what is            threads that prepare parts: 0.9 s
//   of (SliceReader)           converted, or made of short ranges  kernel time for 2.24 GB where it
//                                                               was 1.8
//   the same, with gaps     likewise, where half of each row    8 KiB of every 16: 1.29 GB/s in
//   place (reads_gaps)            is kept, or ranges are short and    of 0.59
//                           close together
//
// What is converted is read from the ring as well, where the ring holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "extract/copy_plan.h"
#include "extract/read_ahead.h"
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

  // From now on these slices are appended or streamed, in this order: they are read before they are
  // asked for. They are known by their address, and outlive that. What comes in another order is
  // read when it is asked for.
  void read_ahead(std::vector<const TensorSlice*> slices, ReadAhead::Ways ways = {});

  // Appends the slice to `out` in `dtype`: its bytes as they are where the source has that dtype,
  // else converted chunk by chunk. The meter, if any, counts bytes of the output. Error where a
  // finite value would become infinite in `dtype`, naming the tensor.
  void append(const TensorSlice& slice, Dtype dtype, OutputFile& out, Meter* meter = nullptr);

  // Hands the slice on as f32, `chunk` elements at a time (the last time what is left).
  void stream(const TensorSlice& slice, std::size_t chunk,
              const std::function<void(std::span<float>)>& sink);

  // Error if a shard that was read has changed since it was opened: what was written must then
  // not be kept.
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

// For Extractor::read_ahead: a plan's, from `first` on, `count` or all that there are.
std::vector<const TensorSlice*> slices_of(
    const SlicePlan& plan, std::size_t first = 0,
    std::size_t count = std::numeric_limits<std::size_t>::max());

// Error, naming the tensor, where a finite value would become infinite in `dtype`.
void check_range(std::span<const float> values, Dtype dtype, const std::string& name);

// The slice in memory, as f32: for tests and small tensors.
std::vector<float> extract_f32(const Checkpoint& checkpoint, const TensorSlice& slice);

}  // namespace mnm
