// The tensor table: every tensor of a nested model, and how a layer's width cuts it.
//
// One table per model, made by its family from the configuration. It drives the checks of a
// checkpoint, the slice plan, the cost and every writer: nothing else knows a tensor's name or
// shape.
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

// A range of rows (or columns) kept at width w: [begin, begin + fixed + w * num / den). The width
// is that of the piece's layer, and the whole piece goes where that layer is skipped.
struct Piece {
  std::int64_t begin = 0;
  std::int64_t fixed = 0;
  std::int64_t num = 0;
  std::int64_t den = 1;
  int layer = -1;  // -1: the tensor's own. Set in tensors alone that belong to no layer.

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
  int layer = -1;                   // it goes where that one is skipped; -1: belongs to no layer
  Role role = Role::kOther;
  double flops_per_element = 0;  // per token: 2 where it is a product's operand, else 0
  Init init = Init::kNormal;
  double init_std = 0.02;  // of kNormal
  double init_low = 0, init_high = 0;
  int norm_groups = 0;        // a norm's scale: groups of it, normalised each by itself; 0: none
  int cut_dim = -1;           // the dimension that the width cuts; -1: none
  std::vector<Piece> pieces;  // the ranges kept of cut_dim, ascending, disjoint

  int layer_of(const Piece& piece) const { return piece.layer < 0 ? layer : piece.layer; }
  // The elements that are there for the sake of a layer (-1: of none), which has that width. Over
  // all layers, the sum of them is what the tensor keeps.
  std::int64_t elements_of(int for_layer, Width width) const;
  // Its name in a submodel where its layer has that number: the first part of the name, between
  // points, that is the layer's number is replaced. Error where there is none.
  std::string name_at(int number) const;
};

struct TensorTable {
  std::vector<TensorSpec> tensors;  // in the order in which writers write them

  const TensorSpec* find(std::string_view name) const;  // nullptr if there is none
};

}  // namespace mnm
