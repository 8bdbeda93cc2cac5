#include "fold/kept_givens.h"

#include <vector>

namespace mnm {
namespace {

// Tensors of a batch as the state of one node, and back.
State as_state(const std::vector<at::Tensor>& tensors) {
  State state;
  for (const at::Tensor& tensor : tensors) state.tensors.push_back(tensor.unsqueeze(0));
  return state;
}

void keep_in(LevelStates& kept, std::size_t batch, const std::vector<at::Tensor>& tensors) {
  if (tensors.empty()) return;
  const State state = as_state(tensors);
  kept.open(batch, 1, state);
  kept.write(batch, 0, state);
}

std::vector<at::Tensor> read_from(const LevelStates& kept, std::size_t batch) {
  std::vector<at::Tensor> tensors = kept.read(batch, 0, 1).tensors;
  for (at::Tensor& tensor : tensors) tensor = tensor.squeeze(0);
  return tensors;
}

}  // namespace

KeptGivens::KeptGivens(StateRoom& room, std::size_t batches, std::size_t layers)
    : shared_(room, batches) {
  for (std::size_t layer = 0; layer < layers; ++layer) layers_.emplace_back(room, batches);
}

void KeptGivens::keep(std::size_t batch, const Givens& givens) {
  keep_in(shared_, batch, givens.shared);
  for (std::size_t layer = 0; layer < givens.layers.size(); ++layer) {
    keep_in(layers_.at(layer), batch, givens.layers[layer]);
  }
}

Givens KeptGivens::of(std::size_t batch, std::size_t layer) const {
  Givens givens;
  givens.shared = read_from(shared_, batch);
  givens.layers.resize(layers_.size());
  givens.layers[layer] = read_from(layers_[layer], batch);
  return givens;
}

void KeptGivens::drop(std::size_t batch, std::size_t layer) { layers_[layer].close(batch); }

}  // namespace mnm
