// A nested checkpoint with the weights that an export stores, and, if asked for, with noise on top.
// It serves to measure how far rounding moves the logits.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "export/target.h"
#include "model/checkpoint.h"
#include "model/nested_model.h"

namespace mnm {

struct Noise {
  double relative = 0;
  int draw = 0;  // which of several independent draws
};

// The tensors of a checkpoint, altered. The part of a tensor that the plan keeps is rounded as the
// plan stores it. Then each element of a matrix is off by up to the noise. The part that the plan
// does not keep is the checkpoint's. Tensors are in f32 and are made when they are read. Only what
// was read last is held: a tensor that is cut, or a part of one that is not cut.
class AlteredWeights {
 public:
  // All arguments outlive this object.
  AlteredWeights(const NestedModel& model, const Checkpoint& checkpoint, const PlannedExport& plan,
                 const Noise& noise);
  AlteredWeights(const AlteredWeights&) = delete;
  AlteredWeights& operator=(const AlteredWeights&) = delete;

  // The checkpoint must not outlive this object. Several threads may read it.
  Checkpoint checkpoint();

  // That it takes at most: a tensor that is cut and what is kept of it, or a part of another.
  static double bytes(const SlicePlan& plan);

 private:
  // What is held at once: of tensor `index`, all or the elements from part * kTogether on.
  struct Piece {
    std::size_t index = 0, part = 0;
    bool operator==(const Piece&) const = default;
  };
  void read(std::size_t index, std::uint64_t begin, std::span<std::byte> into);
  void make(Piece piece);
  void alter(const TensorSlice& slice, Piece piece, std::span<float> values) const;

  const TensorTable& table_;
  const Checkpoint& checkpoint_;
  const PlannedExport& plan_;
  const Noise noise_;
  std::mutex mutex_;  // of what follows
  std::optional<Piece> made_;
  std::vector<float> values_;
};

}  // namespace mnm
