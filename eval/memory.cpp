#include "eval/memory.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "eval/row_tables.h"
#include "model/shapes.h"

namespace mnm {

std::optional<std::uint64_t> available_memory() {
  std::ifstream info("/proc/meminfo");
  for (std::string word; info >> word;) {
    std::uint64_t kib = 0;
    if (word == "MemAvailable:" && info >> kib) return kib * 1024;
  }
  return std::nullopt;
}

WeightBytes weight_bytes(const NestedModel& model, Dtype dtype) {
  WeightBytes bytes;
  std::vector<std::uint64_t> layers(model.layers(), 0);
  for (const TensorSpec& spec : model.table.tensors) {
    const std::uint64_t size =
        static_cast<std::uint64_t>(element_count(spec.shape)) * size_of(dtype);
    bytes.all += size;
    if (is_read_by_rows(spec)) continue;
    (spec.layer < 0 ? bytes.ends : layers.at(static_cast<std::size_t>(spec.layer))) += size;
  }
  if (!layers.empty()) bytes.largest_layer = *std::ranges::max_element(layers);
  return bytes;
}

std::uint64_t streamed_bytes(const WeightBytes& weights, const Streaming& streaming) {
  const std::uint64_t layers = weights.largest_layer / 2 * (streaming.single_pass ? 3 : 5);
  return layers + (streaming.hold_ends ? weights.ends : std::min(weights.ends, kEndPiece));
}

}  // namespace mnm
