#include "export/random_checkpoint.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "export/random_weights.h"
#include "export/target.h"

namespace mnm {
namespace {

constexpr std::uint64_t kChunk = 1 << 20;  // elements: small enough to stay in the cache
static_assert(kChunk % RandomWeights::kStep == 0);

}  // namespace

void write_random_checkpoint(const HuggingFacePlan& plan, std::uint64_t seed,
                             const std::filesystem::path& directory, const ProgressSink& progress,
                             Flush flush) {
  assert(plan.carried.empty());
  require_space(plan.bytes, directory);
  Meter meter(progress, static_cast<double>(plan.bytes), kEveryStep);
  write_texts(plan.texts, directory, meter, flush);
  RandomWeights weights(seed);
  std::vector<std::byte> buffer(kChunk * size_of(plan.dtype));
  const auto append = [&](std::size_t tensor, OutputFile& out) {
    const TensorSlice& slice = plan.slices.tensors[tensor];
    const auto elements = static_cast<std::uint64_t>(slice.elements());
    for (std::uint64_t begin = 0; begin < elements; begin += kChunk) {
      const std::span<std::byte> chunk =
          std::span(buffer).first(std::min(kChunk, elements - begin) * size_of(plan.dtype));
      weights.fill(*slice.spec, plan.dtype, begin, chunk);
      out.write(chunk);
      meter.add(static_cast<double>(chunk.size()));
    }
  };
  // By one thread: there is one buffer, and one table of values.
  write_shards(
      plan.shards, plan.metadata, directory, 1, [&]() -> AppendTensor { return append; }, meter,
      flush);
}

}  // namespace mnm
