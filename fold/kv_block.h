// How the KV cache is cut into blocks.
#pragma once

#include <cstdint>

namespace mnm {

constexpr std::int64_t kKvBlock = 64;  // tokens of a block, on the CPU

}  // namespace mnm
