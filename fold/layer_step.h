// One layer of a fold, skipped or not. This is the one place that knows what a skipped layer does:
// nothing. Scoring, checking, training, timing and generating all use these functions.
//
// Compiled only into the engine.
#pragma once

#include <cstdint>
#include <span>

#include "fold/fold.h"

namespace mnm {

// The children of all nodes of `parents`, in their order. A child that skips the layer has the
// state of its parent. The fold steps the other children, with only those parents that have such
// children. If all children skip the layer, the fold is not called, and the layer need not be
// loaded.
State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 const Children& children);
// The same with one child for each parent, all at one width.
State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 Width width);
// One node at full width, whose inner channels `sink` gets (Fold::step_shown).
State step_layer_shown(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                       const ChannelSink& sink);

// One candidate through all layers.
State step_layers(Fold& fold, const Embedded& start, const Widths& widths);

// As Fold::extend, for runs of which some may skip the layer. A skipped layer keeps nothing of the
// tokens but that it was skipped. If all runs skip it, the fold is not called.
State extend_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                   std::span<const Run> runs);
// The same for sequences of one length at one width, in the shape of a batch: the state is that of
// one node, [1, sequences, tokens, ..].
State extend_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                   Width width, std::int64_t position, std::span<LayerCache> caches);

}  // namespace mnm
