#include "export/q8_0.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "model/dtype.h"

namespace mnm {

bool quantize_q8(std::span<const float> values, std::span<std::byte> bytes) {
  assert(values.size() % kQ8Values == 0 && bytes.size() / kQ8Bytes == values.size() / kQ8Values);
  for (std::byte* out = bytes.data(); !values.empty();
       values = values.subspan(kQ8Values), out += kQ8Bytes) {
    float largest = 0;
    for (const float value : values.first(kQ8Values)) {
      if (!std::isfinite(value)) return false;
      largest = std::max(largest, std::fabs(value));
    }
    const float scale = largest / 127.0f;
    const float inverse = scale == 0 ? 0.0f : 1.0f / scale;
    const std::uint16_t half = f32_to_f16(scale);
    // A scale so small that its inverse is none would make the bytes nonsense: such a block is
    // zero.
    const bool invertible = std::isfinite(inverse);
    if (!std::isfinite(f16_to_f32(half))) return false;
    std::memcpy(out, &half, sizeof half);
    for (std::size_t i = 0; i < kQ8Values; ++i) {
      const float scaled = invertible ? std::round(values[i] * inverse) : 0.0f;
      out[sizeof half + i] = static_cast<std::byte>(static_cast<std::int8_t>(scaled));
    }
  }
  return true;
}

void dequantize_q8(std::span<const std::byte> bytes, std::span<float> values) {
  assert(values.size() % kQ8Values == 0 && bytes.size() / kQ8Bytes == values.size() / kQ8Values);
  const std::byte* in = bytes.data();
  for (; !values.empty(); values = values.subspan(kQ8Values), in += kQ8Bytes) {
    std::uint16_t half = 0;
    std::memcpy(&half, in, sizeof half);
    const float scale = f16_to_f32(half);
    for (std::size_t i = 0; i < kQ8Values; ++i) {
      values[i] = scale * static_cast<float>(static_cast<std::int8_t>(in[sizeof half + i]));
    }
  }
}

}  // namespace mnm
