// One layer of a fold, skipped or not. The one place that knows what a skipped layer does: nothing.
// Scoring, checking, training, timing and generating all go through these functions.
//
// Compiled only into the engine.
#pragma once

#include <cstdint>
#include <span>

#include "fold/fold.h"

namespace mnm {

// The children of all nodes of `parents`, in their order. A skipped child has its parent's state.
// The fold steps the others, and of the parents those alone that have such children; where all are
// skipped it is not called, and its layer need not be loaded.
State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 const Children& children);
// The one child of each of them, at one width.
State step_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& parents,
                 Width width);

// One candidate through all layers.
State step_layers(Fold& fold, const Embedded& start, const Widths& widths);

// As Fold::extend. A skipped layer keeps nothing: its cache stays empty.
State extend_layer(Fold& fold, std::size_t layer, const Givens& givens, const State& state,
                   Width width, std::int64_t position, std::span<LayerCache> caches);

}  // namespace mnm
