// How a plan's walk is cut into pieces that are fast and fit a memory limit. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/prefix_tree.h"
#include "model/nested_model.h"

namespace mnm {

// Products reach full speed at some thousand rows and no more beyond, while states should stay in
// cache: a step works on about `rows` rows (nodes * sequences * tokens).
//
// Sequences come first, nodes second: with sequences enough, a step takes one parent, so that the
// walk holds one parent's children per level and nothing else, however wide the plan. More than one
// parent per step is for data with few tokens. (On the CPU 1,024 rows of d_model 128 are half a
// megabyte, and products ran at 96 % of their peak from 512 rows to 2,048, at 75 % with 4,096.)
struct TilingOptions {
  std::int64_t context = 0;              // tokens per sequence
  std::int64_t sequences = 0;            // that the data has
  std::int64_t rows = 1024;              // per step
  std::uint64_t logit_bytes = 1u << 20;  // of f32 logits at once
  std::int64_t words = 0;                // of the vocabulary that a readout product takes; 0: all
  std::uint64_t element_bytes = 4;       // of states and products
  std::int64_t given_per_token = 0;      // elements that the batch has beside the states
  std::uint64_t product_bytes = 0;       // work space of products, whatever their size
  std::uint64_t memory = 0;              // for states and work space
  bool reference = false;                // whether leaves are compared with one
};

// A readout product's shape: rows of final hidden states by words of the vocabulary.
struct LogitTile {
  std::int64_t rows = 1, words = 1;
  std::int64_t vocab = 1;
  std::uint64_t kept = 0;  // bytes of a reference's logits that may stay from leaf to leaf
};

struct Tiling {
  std::int64_t sequences = 1;  // per batch
  std::int64_t parents = 1;    // per step
  std::int64_t children = 1;   // per step, siblings of one parent split if need be
  LogitTile logits;
  std::uint64_t bytes = 0;  // bound on what is alive at once
};

// Elements per token of a node's state at the level where it has most.
std::int64_t largest_state(const NestedModel& model);

// Pure. Halves parents, then logit rows, then sequences, then children until the bound fits the
// memory; only the last costs work, since the shared part of a step runs once for each split. What
// is left then keeps a reference's logits, up to all of a batch. Error where not one sequence, one
// parent and one child fit: says how much they need.
Tiling tile(const PrefixTree& plan, const NestedModel& model, const TilingOptions& options);

// The steps that together take all children of the parents [first, last) of a level, in order. A
// step takes several parents with all their children, or one parent with some of them.
std::vector<TreeStep> steps_of(const Children& level, std::int64_t first, std::int64_t last,
                               const Tiling& tiling);

}  // namespace mnm
