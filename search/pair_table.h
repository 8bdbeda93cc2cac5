// A function of widths that is a sum over layers and over pairs of layers, as tables. A surrogate
// states the losses that it expects in this form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mnm {

class PairTable {
 public:
  explicit PairTable(std::vector<std::int32_t> levels);  // [layers]: how many each layer has

  std::size_t layers() const { return levels_.size(); }
  std::int32_t levels(std::size_t layer) const { return levels_[layer]; }

  double& constant() { return constant_; }
  double& single(std::size_t layer, std::int32_t level) {
    return single_[single_at_[layer] + static_cast<std::size_t>(level)];
  }
  double single(std::size_t layer, std::int32_t level) const {
    return single_[single_at_[layer] + static_cast<std::size_t>(level)];
  }
  // The term of two layers, `first` before `second`: [levels of the first][levels of the second].
  double& pair(std::size_t first, std::size_t second, std::int32_t a, std::int32_t b) {
    return pair_[place(first, second, a, b)];
  }
  double pair(std::size_t first, std::size_t second, std::int32_t a, std::int32_t b) const {
    return pair_[place(first, second, a, b)];
  }

  double value(std::span<const std::int32_t> levels) const;  // O(layers^2)

  // What the terms of one layer add at each of its levels, if the other layers are as in `levels`.
  // If that layer goes from a to b, value() changes by out[b] - out[a]. O(layers) per level.
  void field(std::span<const std::int32_t> levels, std::size_t layer,
             std::vector<double>& out) const;

  // The term of two layers, in either order.
  double term(std::size_t one, std::size_t other, std::int32_t a, std::int32_t b) const {
    return one < other ? pair(one, other, a, b) : pair(other, one, b, a);
  }

 private:
  std::size_t place(std::size_t first, std::size_t second, std::int32_t a, std::int32_t b) const {
    return pair_at_[first * levels_.size() + second] +
           static_cast<std::size_t>(a) * static_cast<std::size_t>(levels_[second]) +
           static_cast<std::size_t>(b);
  }

  std::vector<std::int32_t> levels_;
  double constant_ = 0;
  std::vector<std::size_t> single_at_, pair_at_;
  std::vector<double> single_, pair_;
};

}  // namespace mnm
