// The tensor table: every tensor of a nested model, and how a layer's width cuts it.
//
// There is one table per model. Its family makes it from the configuration. The table drives the
// checks of a checkpoint, the slice plan, the cost and every writer. Nothing else knows the name or
// shape of a tensor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/widths.h"

namespace mnm {

enum class Role : std::uint8_t {
  kEmbedding,  // looked up by token; counted as embedding parameters
  kHead,       // untied output head; counted as embedding parameters
  kOther,      // everything inside the layers, and the final norm
};

// A range of rows (or columns) that is kept at width w: [begin, begin + fixed + w * num / den). The
// width is that of the piece's layer. If that layer is skipped, the whole piece is absent.
struct Piece {
  std::int64_t begin = 0;
  std::int64_t fixed = 0;
  std::int64_t num = 0;
  std::int64_t den = 1;
  int layer = -1;  // -1: the tensor's. Another is set only in tensors of no layer.

  std::int64_t length(Width width) const { return fixed + width * num / den; }
};

// How a tensor starts when a model is trained from nothing.
enum class Init : std::uint8_t {
  kZero,
  kOne,
  kNormal,           // mean 0, standard deviation init_std
  kUniform,          // in [init_low, init_high]
  kLogOfUniform,     // its exponential is uniform there; init_low > 0
  kInverseSoftplus,  // its softplus, log(1 + exp(x)), is log-uniform there; init_low > 0
};

struct TensorSpec {
  std::string name;                 // as in the checkpoint
  std::vector<std::int64_t> shape;  // at full width
  int layer = -1;                   // if it is skipped, the tensor is absent; -1: none
  Role role = Role::kOther;
  double flops_per_element = 0;  // per token: 2 where it is a product's operand, else 0
  Init init = Init::kNormal;
  double init_std = 0.02;  // of kNormal
  double init_low = 0, init_high = 0;
  double largest = 0;  // training clamps its elements to [-largest, largest]; 0: to nothing
  // Vectors in spite of its shape, such as a class token or positions: no matrix of a product.
  bool is_vectors = false;
  // Of the nested model alone: no submodel has it, and no cost counts it. A slice plan leaves it
  // out.
  bool nested_only = false;
  int norm_groups = 0;        // of a norm's scale: groups that are normalised apart; 0: no norm
  int cut_dim = -1;           // the dimension that the width cuts; -1: none
  std::vector<Piece> pieces;  // the ranges kept of cut_dim, ascending, disjoint

  int layer_of(const Piece& piece) const { return piece.layer < 0 ? layer : piece.layer; }
  // The elements that the tensor has because of one layer at this width (-1: because of no layer).
  // Summed over all layers, this is what a submodel keeps of the tensor.
  std::int64_t elements_of(int for_layer, Width width) const;
  // Whether training shrinks it by weight decay: matrices and convolutions, and neither vectors nor
  // numbers.
  bool decays() const { return shape.size() >= 2 && !is_vectors; }
  // The tensor's name in a submodel in which its layer has this number. The first part of the name
  // (between points) that is the layer's number is replaced. Error if there is no such part.
  std::string name_at(int number) const;
};

struct TensorTable {
  std::vector<TensorSpec> tensors;  // in the order in which writers write them

  const TensorSpec* find(std::string_view name) const;  // nullptr if there is none
};

}  // namespace mnm
