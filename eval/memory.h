// Bytes: what the system has left, what a model's weights take, and what a pass that streams them
// holds at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "model/dtype.h"
#include "model/nested_model.h"

namespace mnm {

// Bytes of embedding or head that are read at once where they are not held: by all threads
// together.
constexpr std::uint64_t kEndPiece = 64 << 20;

// What the system could hand out now; nothing where it does not say.
std::optional<std::uint64_t> available_memory();

// Of a model in a dtype: all of it, what belongs to no layer (embedding and head), and the largest
// layer.
struct WeightBytes {
  std::uint64_t all = 0, ends = 0, largest_layer = 0;
};
WeightBytes weight_bytes(const NestedModel& model, Dtype dtype);

// How a pass streams weights (DeviceOptions).
struct Streaming {
  bool single_pass = false;  // the layer in use is held alone, else the next one too
  bool hold_ends = false;    // else they are read in parts of kEndPiece
};

// What is held of the weights: the layers, and half of a layer while parts of it are put together
// from copies of them, beside the ends or a part of these.
std::uint64_t streamed_bytes(const WeightBytes& weights, const Streaming& streaming);

}  // namespace mnm
