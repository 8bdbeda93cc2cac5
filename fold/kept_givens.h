// What the batches of a sweep are given, while all of them are under way. Compiled only into the
// engine.
#pragma once

#include <cstddef>
#include <deque>

#include "fold/fold.h"
#include "fold/level_states.h"

namespace mnm {

// They lie where states of a level would: on the device, in host memory or in a file. A layer's own
// are read when the layer is stepped, and dropped then. Several threads may use different batches
// at once.
class KeptGivens {
 public:
  // The room outlives it.
  KeptGivens(StateRoom& room, std::size_t batches, std::size_t layers);

  void keep(std::size_t batch, const Givens& givens);  // once per batch
  // On the device, and of Givens::layers that layer's alone.
  Givens of(std::size_t batch, std::size_t layer) const;
  void drop(std::size_t batch, std::size_t layer);  // that layer's own

 private:
  LevelStates shared_;
  std::deque<LevelStates> layers_;  // [layers], which do not move
};

}  // namespace mnm
