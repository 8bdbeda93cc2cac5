// The next tokens of many sequences through a Mamba-2 layer, each at a width of its own, and what
// the layer keeps of a sequence. Compiled only into the engine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "families/mamba2/block_fold.h"
#include "families/mamba2/mixer_fold.h"
#include "fold/fold.h"

namespace mnm {

// LayerCache::tensors are a BlockState of all sequences: [sequences, taps - 1, B | C | x] and
// [sequences, heads, state, head_dim]. It has room for the widest width at which a token was
// computed. A head that a token left out keeps what it had, and one that no token has used yet is
// zero: it takes part as if the sequence had just begun.

// By the CPU kernels: x [1, 1, rows, d], run after run, and so is the result. Each weight is read
// once for every 256 rows.
at::Tensor mamba2_extend(const Mamba2Config& config, const Mamba2Layer& layer, const at::Tensor& x,
                         std::size_t index, std::span<const Run> runs);

// How many of the tokens of a run, of which `first` are done and at most `most` come next, go
// through the layer at once. Those that may be taken back go one by one, and this remembers the
// state before each.
std::int64_t tokens_at_once(LayerCache& cache, const Run& run, std::int64_t first,
                            std::int64_t most);

// What a cache holds for the first channels of x, as scan_rows takes it; and back. Undefined
// tensors if it holds nothing yet.
MixerState take_state(const LayerCache& cache, const Mamba2Config& config, Width width);
void keep_state(LayerCache& cache, const Mamba2Config& config, Width width,
                const MixerState& state);

}  // namespace mnm
