// NumPy's array files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <span>
#include <string>

namespace mnm {

// A one-dimensional little-endian float32 array, format 1.0.
std::string npy_f32(std::span<const float> values);

}  // namespace mnm
