// The sweeps by which MatMamba's authors showed that submodels between the trained ones work
// (Shukla et al., "MatMamba", arXiv 2410.06718, Mix'n'Match experiments). Two sweeps use every
// width that searches draw from: one width for all layers, or widths that fall with depth. Two use
// pairs of granularities: a suffix of the layers takes the other granularity. Levels are counted as
// in uniform.h, so the widest submodel is always a member. No member occurs twice, and none skips a
// layer.
#pragma once

#include <vector>

#include "model/width_space.h"

namespace mnm {

// One level of the choices in all layers, narrowest first.
std::vector<Widths> constant_schedule(const WidthSpace& space);

// A level of the choices in the first layer, then one level down after every r layers, until the
// narrowest. All levels to start from, narrowest first, and r from 1 (the authors' own) to the
// number of layers, which is one level in all of them.
std::vector<Widths> linear_decay_schedule(const WidthSpace& space);

// For every two granularities: all layers at the wider one except the last k, which are at the
// narrower; from k = 0 to all layers.
std::vector<Widths> wide_to_narrow_schedule(const WidthSpace& space);

// The same with the narrower one first.
std::vector<Widths> narrow_to_wide_schedule(const WidthSpace& space);

}  // namespace mnm
