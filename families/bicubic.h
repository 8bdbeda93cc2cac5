// Bicubic interpolation along one dimension as a matrix, which PyTorch's `interpolate` computes
// with mode "bicubic" and align_corners false.
#pragma once

#include <cstdint>
#include <vector>

namespace mnm {

// [to, from], row by row: what each of `from` points, in their order, counts in each of `to` points
// that cover the same length. Points beyond an end are the last ones there, and with `antialias`
// there are none beyond.
std::vector<double> bicubic_matrix(std::int64_t from, std::int64_t to, bool antialias);

}  // namespace mnm
