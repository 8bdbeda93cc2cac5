// The KV cache of a Llama layer: rotated keys, and values, of each position, in blocks. A block is
// filled once, so a copy of a cache shares the full ones. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "fold/fold.h"
#include "fold/kv_block.h"

namespace mnm {

// LayerCache::tensors are the keys and the values of block 0, of block 1, ..., each [sequences,
// kv heads, room for tokens, head_dim]. On the CPU a block has room for kKvBlock tokens. Elsewhere
// there is one block that grows by doubling, since kernels read keys that lie beside each other.

// Makes room for the tokens of `run`, in memory of the cache's own. `shape`: [sequences, kv heads,
// any, head_dim]. Blocks behind these tokens are dropped.
void make_kv_room(LayerCache& cache, const Run& run, std::vector<std::int64_t> shape,
                  const at::TensorOptions& options);

// Keys and values [sequences, kv heads, tokens, head_dim] into the room that was made.
void write_kv(LayerCache& cache, const Run& run, const at::Tensor& keys, const at::Tensor& values);

// Keys and values of the positions [first, end): [sequences, kv heads, end - first, head_dim]. They
// are views if one block has them all.
std::pair<at::Tensor, at::Tensor> read_kv(const LayerCache& cache, std::int64_t first,
                                          std::int64_t end);

// A part of a block whose positions none of the tokens skipped.
struct KvPart {
  std::size_t block = 0;
  std::int64_t offset = 0;          // of its first position in the block
  std::int64_t begin = 0, end = 0;  // positions
};
std::vector<KvPart> kv_parts(const LayerCache& cache, std::int64_t first, std::int64_t end);

}  // namespace mnm
