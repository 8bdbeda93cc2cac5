// How the KV cache is cut into blocks.
#pragma once

#include <cstdint>

namespace mnm {

constexpr std::int64_t kKvBlock = 64;   // tokens of a block, on the CPU
constexpr std::int64_t kKvLeast = 256;  // elsewhere: of the one block at first, which then doubles

}  // namespace mnm
