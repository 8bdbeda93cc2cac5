// GeLU under the names of transformers' ACT2FN. Those of one list are one function: they differ in
// how they round. gelu_10, which is clipped, and quick_gelu are others.
#pragma once

#include <string_view>

namespace mnm {

// x * Phi(x), by erf.
inline constexpr std::string_view kGeluNames[] = {"gelu", "gelu_python"};
// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))). gelu_fast has the root as 0.7978845608,
// which is the same number in f32.
inline constexpr std::string_view kGeluTanhNames[] = {
    "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_python_tanh", "gelu_accurate",
};

}  // namespace mnm
