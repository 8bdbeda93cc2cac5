// A safetensors file copied with some of its tensors in another order: planned, then written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "model/checkpoint.h"
#include "neurons/permuted_tensor.h"

namespace mnm {

struct FileSegment {
  std::uint64_t offset = 0, bytes = 0;        // in both files
  const PermutedTensor* reordered = nullptr;  // null: the bytes are copied as they are
};

// Segments without gaps from the first byte of the file to the last. Head, tensors and their places
// stay; only the bytes of reordered tensors are exchanged among themselves.
struct PermutedFile {
  std::filesystem::path source;
  std::uint64_t bytes = 0;
  std::vector<FileSegment> segments;
};

// tensors: by the stored name. The map outlives the plan.
PermutedFile plan_permuted_file(const Checkpoint& checkpoint, std::size_t shard,
                                const std::map<std::string, PermutedTensor>& tensors);

// Writes the file. Segments that stay are copied inside the kernel if it can, and rows that move as
// a whole are written from the pages that it holds. Parts of other reordered tensors are made by
// several threads and written in order; each holds a part and a block of rows, whatever the size of
// the tensor. The meter counts bytes. Error if the source changes meanwhile.
void write_permuted_file(const PermutedFile& file, const std::filesystem::path& target,
                         Meter& meter, Flush flush);

}  // namespace mnm
