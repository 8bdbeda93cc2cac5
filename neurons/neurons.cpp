#include "neurons/neurons.h"

#include <algorithm>

#include "base/error.h"

namespace mnm {
namespace {

[[noreturn]] void refuse(std::size_t layer, const std::string& why) {
  fail("cannot exchange the neurons of layer {}: {}", layer, why);
}

// The runs of a tensor whose neurons have `step` widths each.
NeuronTensor runs_of(const TensorSpec& spec, std::size_t layer, std::int64_t step) {
  NeuronTensor tensor{&spec, {}};
  for (const Piece& piece : spec.pieces) {
    if (piece.num == 0) continue;
    if (piece.fixed != 0 || step * piece.num % piece.den != 0) {
      refuse(layer,
             fmt::format("{} keeps {} + w * {} / {} of a width w, which are no whole neurons",
                         spec.name, piece.fixed, piece.num, piece.den));
    }
    tensor.runs.push_back({piece.begin, step * piece.num / piece.den});
  }
  return tensor;
}

// Whether the width of a layer cuts the tensor; refuses one that several widths cut.
bool is_cut_by(const TensorSpec& spec, std::size_t layer) {
  const auto own = static_cast<int>(layer);
  const bool cut = std::ranges::any_of(spec.pieces, [&](const Piece& piece) {
    return piece.num != 0 && spec.layer_of(piece) == own;
  });
  const bool others = std::ranges::any_of(spec.pieces, [&](const Piece& piece) {
    return piece.num != 0 && spec.layer_of(piece) != own;
  });
  if (cut && others) {
    refuse(layer, fmt::format("{} is shared with another layer, whose neurons would move as well",
                              spec.name));
  }
  return cut;
}

bool is_down(const NeuronTensor& tensor) {
  return tensor.spec->cut_dim == 1 && tensor.spec->shape.size() == 2;
}

}  // namespace

const NeuronTensor& LayerNeurons::down() const { return *std::ranges::find_if(tensors, is_down); }

LayerNeurons neurons_of(const NestedModel& model, std::size_t layer) {
  const LayerChoices& choices = model.space.layers.at(layer);
  if (choices.step <= 0 || choices.full() % choices.step != 0) {
    refuse(layer, choices.why_not.empty() ? "only its full width is a model" : choices.why_not);
  }
  LayerNeurons neurons;
  neurons.count = choices.full() / choices.step;
  for (const TensorSpec& spec : model.table.tensors) {
    if (spec.cut_dim < 0 || !is_cut_by(spec, layer)) continue;
    neurons.tensors.push_back(runs_of(spec, layer, choices.step));
  }
  const auto downs = std::ranges::count_if(neurons.tensors, is_down);
  const auto* const down = downs == 1 ? &neurons.down() : nullptr;
  if (down == nullptr || down->runs.size() != 1 || down->runs.front().begin != 0) {
    refuse(layer, fmt::format("{} matrices have their columns cut by its width, expected one whose "
                              "columns are the neurons' alone",
                              downs));
  }
  return neurons;
}

std::vector<LayerNeurons> neurons_of_layers(const NestedModel& model) {
  std::vector<LayerNeurons> layers;
  for (std::size_t layer = 0; layer < model.layers(); ++layer) {
    layers.push_back(neurons_of(model, layer));
  }
  return layers;
}

}  // namespace mnm
