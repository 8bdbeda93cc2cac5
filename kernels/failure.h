// The reasons of launchers of CUDA kernels that callers treat differently from other reasons.
#pragma once

namespace mnm {

inline constexpr const char* kNoCuda = "this program was built without CUDA kernels";
inline constexpr const char* kNoMemory = "the device has no memory left";

}  // namespace mnm
