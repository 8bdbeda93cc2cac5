// ggml's block format Q8_0: 32 values as one f16 scale and 32 signed bytes. The scale is the
// largest magnitude over 127, the bytes are the values over that scale (before it is rounded to
// f16), rounded half away from zero.
#pragma once

#include <cstddef>
#include <span>

namespace mnm {

inline constexpr std::size_t kQ8Values = 32, kQ8Bytes = 2 + kQ8Values;

// Quantizes whole blocks: values.size() / 32 * 34 == bytes.size(). Returns false if a value is not
// finite, or if the scale of its block is past what f16 holds. Then `bytes` must not be used.
[[nodiscard]] bool quantize_q8(std::span<const float> values, std::span<std::byte> bytes);
void dequantize_q8(std::span<const std::byte> bytes, std::span<float> values);

}  // namespace mnm
