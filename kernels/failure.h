// What launchers of CUDA kernels say that their callers tell apart from the rest.
#pragma once

namespace mnm {

inline constexpr const char* kNoCuda = "this program was built without CUDA kernels";
inline constexpr const char* kNoMemory = "the device has no memory left";

}  // namespace mnm
