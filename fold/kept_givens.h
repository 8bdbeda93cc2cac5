// The givens of all batches of a sweep, which are all under way at the same time. Compiled only
// into the engine.
#pragma once

#include <cstddef>
#include <deque>

#include "fold/fold.h"
#include "fold/level_states.h"

namespace mnm {

// They are kept like the states of a level: on the device, in host memory or in a file. The givens
// of a single layer are read when the layer is stepped, and then dropped. Several threads may use
// different batches at once.
class KeptGivens {
 public:
  // The room outlives this object.
  KeptGivens(StateRoom& room, std::size_t batches, std::size_t layers);

  void keep(std::size_t batch, const Givens& givens);  // once per batch
  // The givens of a batch on the device. Of Givens::layers only that layer's entry is filled.
  Givens of(std::size_t batch, std::size_t layer) const;
  void drop(std::size_t batch, std::size_t layer);  // the givens of that layer only

 private:
  LevelStates shared_;
  std::deque<LevelStates> layers_;  // [layers], which do not move
};

}  // namespace mnm
