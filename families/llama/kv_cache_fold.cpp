#include "families/llama/kv_cache_fold.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace mnm {
namespace {

std::int64_t room_of(const LayerCache& cache, std::size_t block) {
  return cache.tensors[2 * block].size(2);
}

std::size_t blocks_of(const LayerCache& cache) { return cache.tensors.size() / 2; }

// Calls use(block, offset, begin, end) for every block that has some of the positions
// [first, end).
template <typename Use>
void each_block(const LayerCache& cache, std::int64_t first, std::int64_t end, const Use& use) {
  std::int64_t start = 0;  // of the block
  for (std::size_t block = 0; block < blocks_of(cache) && start < end; ++block) {
    const std::int64_t stop = start + room_of(cache, block);
    const std::int64_t from = std::max(first, start), to = std::min(end, stop);
    if (from < to) use(block, from - start, from, to);
    start = stop;
  }
}

void add_block(LayerCache& cache, const std::vector<std::int64_t>& shape,
               const at::TensorOptions& options) {
  for (int i = 0; i < 2; ++i) cache.tensors.push_back(at::empty(shape, options));
}

// One block for all, with its first `used` tokens kept.
void grow_block(LayerCache& cache, std::vector<std::int64_t> shape, std::int64_t used,
                std::int64_t end, const at::TensorOptions& options) {
  if (!cache.tensors.empty() && room_of(cache, 0) >= end) return;
  shape[2] = std::max({end, kKvLeast, 2 * used});
  LayerCache grown;
  add_block(grown, shape, options);
  for (std::size_t i = 0; used > 0 && i < 2; ++i) {
    grown.tensors[i].narrow(2, 0, used).copy_(cache.tensors[i].narrow(2, 0, used));
  }
  cache.tensors = std::move(grown.tensors);
}

}  // namespace

void make_kv_room(LayerCache& cache, const Run& run, std::vector<std::int64_t> shape,
                  const at::TensorOptions& options) {
  const std::int64_t end = run.position + run.tokens;
  if (options.device().is_cpu()) {
    shape[2] = kKvBlock;
    const auto blocks = static_cast<std::size_t>((end + kKvBlock - 1) / kKvBlock);
    if (cache.tensors.size() > 2 * blocks) cache.tensors.resize(2 * blocks);
    while (blocks_of(cache) < blocks) add_block(cache, shape, options);
  } else {
    grow_block(cache, std::move(shape), run.position, end, options);
  }
  each_block(cache, run.position, end,
             [&](std::size_t block, std::int64_t, std::int64_t, std::int64_t) {
               own(cache.tensors[2 * block]);
               own(cache.tensors[2 * block + 1]);
             });
}

void write_kv(LayerCache& cache, const Run& run, const at::Tensor& keys, const at::Tensor& values) {
  each_block(
      cache, run.position, run.position + run.tokens,
      [&](std::size_t block, std::int64_t offset, std::int64_t begin, std::int64_t end) {
        const std::int64_t count = end - begin, from = begin - run.position;
        cache.tensors[2 * block].narrow(2, offset, count).copy_(keys.narrow(2, from, count));
        cache.tensors[2 * block + 1].narrow(2, offset, count).copy_(values.narrow(2, from, count));
      });
}

std::pair<at::Tensor, at::Tensor> read_kv(const LayerCache& cache, std::int64_t first,
                                          std::int64_t end) {
  std::vector<at::Tensor> keys, values;
  each_block(cache, first, end,
             [&](std::size_t block, std::int64_t offset, std::int64_t from, std::int64_t to) {
               keys.push_back(cache.tensors[2 * block].narrow(2, offset, to - from));
               values.push_back(cache.tensors[2 * block + 1].narrow(2, offset, to - from));
             });
  if (keys.size() == 1) return {keys.front(), values.front()};
  return {at::cat(keys, 2), at::cat(values, 2)};
}

std::vector<KvPart> kv_parts(const LayerCache& cache, std::int64_t first, std::int64_t end) {
  std::vector<KvPart> parts;
  each_block(cache, first, end,
             [&](std::size_t block, std::int64_t offset, std::int64_t begin, std::int64_t stop) {
               std::int64_t at = begin;
               const auto add = [&](std::int64_t to) {
                 if (at < to) parts.push_back({block, offset + at - begin, at, to});
               };
               for (const Range& gap : cache.skipped) {
                 if (gap.end <= at) continue;
                 if (gap.begin >= stop) break;
                 add(gap.begin);
                 at = gap.end;
               }
               add(stop);
             });
  return parts;
}

}  // namespace mnm
