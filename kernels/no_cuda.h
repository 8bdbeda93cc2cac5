// What stand-ins for CUDA kernels say.
#pragma once

namespace mnm {

inline constexpr const char* kNoCuda = "this program was built without CUDA kernels";

}  // namespace mnm
