// How the walk of a plan is cut into steps that are fast and fit a memory limit. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/prefix_tree.h"
#include "model/nested_model.h"

namespace mnm {

// Products reach full speed at some thousand rows and gain no more beyond, and states should stay
// in the cache. So a step works on about `rows` rows (nodes * sequences * tokens).
//
// A step is filled with sequences first, and with nodes second. If there are enough sequences, a
// step takes one parent. Then the walk holds only one parent's children per level, however wide the
// plan is. A step with more than one parent is for data with few tokens. (On the CPU 1,024 rows of
// d_model 128 are half a megabyte. Products ran at 96 % of their peak from 512 to 2,048 rows, and
// at 75 % with 4,096.)
struct TilingOptions {
  std::int64_t context = 0;              // tokens per sequence
  std::int64_t sequences = 0;            // that the data has
  std::int64_t rows = 1024;              // per step
  std::uint64_t logit_bytes = 1u << 20;  // of f32 logits at once
  std::int64_t words = 0;                // of the vocabulary, in one readout product; 0: all
  std::uint64_t element_bytes = 4;       // of states and products
  std::int64_t given_per_token = 0;      // elements of a batch besides its states
  // Of tokens that branch: how many places they have in sequences, for each token, rounded up.
  std::int64_t places_per_token = 0;
  std::uint64_t product_bytes = 0;  // work space of products, whatever their size
  std::uint64_t memory = 0;         // for states and work space
  bool reference = false;           // whether leaves are compared with a reference
};

// A readout product's shape: rows of final hidden states by words of the vocabulary.
struct LogitTile {
  std::int64_t rows = 1, words = 1;
  std::int64_t vocab = 1;
  std::uint64_t kept = 0;  // bytes of the reference's logits that are kept between leaves
};

struct Tiling {
  std::int64_t sequences = 1;  // per batch
  std::int64_t parents = 1;    // per step
  std::int64_t children = 1;   // per step; the children of one parent are split if need be
  LogitTile logits;
  std::uint64_t bytes = 0;  // the most that is alive at once
};

// Elements per token of a node's state, at the level where the state is largest.
std::int64_t largest_state(const NestedModel& model);

// Cuts the plan. It halves the parents, then the logit rows, then the sequences, then the children,
// until the tiling's bytes fit the memory. Only the last costs work, because the shared part of a
// step runs once for each split. Memory that is left keeps logits of the reference, up to those of
// a whole batch. Error, with the bytes that are needed, if not even one sequence, one parent and
// one child fit. Pure.
Tiling tile(const PrefixTree& plan, const NestedModel& model, const TilingOptions& options);

// The steps that together take all children of the parents [first, last) of a level, in order. A
// step takes several parents with all their children, or one parent with some of its children.
std::vector<TreeStep> steps_of(const Children& level, std::int64_t first, std::int64_t last,
                               const Tiling& tiling);

}  // namespace mnm
