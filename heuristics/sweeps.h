// The sweeps that MatMamba's authors evaluated to show that submodels between the trained ones work
// (Shukla et al., "MatMamba", arXiv 2410.06718, Mix'n'Match experiments): over every width that
// searches draw from, where one stands for all layers or widths fall with depth, and over pairs of
// granularities, where a suffix of the layers takes the other one. Levels are counted as in
// uniform.h, so the widest of every layer is a member. No member is there twice, none
// skips a layer.
#pragma once

#include <vector>

#include "model/width_space.h"

namespace mnm {

// One level of the choices in all layers, narrowest first.
std::vector<Widths> constant_schedule(const WidthSpace& space);

// Some level of the choices in the first layer, then one level down every r layers, until the
// narrowest: for every level to start from, narrowest first, and r = 1 (the authors' own) to the
// number of layers, which is one level in all of them.
std::vector<Widths> linear_decay_schedule(const WidthSpace& space);

// For every two granularities: all layers at the wider one, but the last k at the narrower; from
// k = 0 to all of them.
std::vector<Widths> wide_to_narrow_schedule(const WidthSpace& space);

// The same with the narrower one first.
std::vector<Widths> narrow_to_wide_schedule(const WidthSpace& space);

}  // namespace mnm
