#include "model/tensor_table.h"

#include <algorithm>

#include "base/error.h"
#include "model/shapes.h"

namespace mnm {

std::int64_t TensorSpec::elements_of(int for_layer, Width width) const {
  if (nested_only) return 0;
  if (cut_dim < 0) return for_layer == layer ? element_count(shape) : 0;
  std::vector<std::int64_t> kept = shape;
  std::int64_t& cut = kept[static_cast<std::size_t>(cut_dim)];
  cut = 0;
  for (const Piece& piece : pieces) {
    if (layer_of(piece) == for_layer) cut += piece.length(width);
  }
  return element_count(kept);
}

std::string TensorSpec::name_at(int number) const {
  if (layer < 0 || number == layer) return name;
  const std::string own = std::to_string(layer);
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    if (name.compare(begin, end - begin, own) == 0) {
      return name.substr(0, begin) + std::to_string(number) + name.substr(end);
    }
    begin = end + 1;
  }
  fail("the tensor {} of layer {} does not hold its layer's number between points", name, layer);
}

const TensorSpec* TensorTable::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &TensorSpec::name);
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace mnm
